defmodule ElixirAxon.ModelTest do
  use ExUnit.Case, async: true

  alias ElixirAxon.{Layout, Model, Optimizer, Step}

  @setting %{channels: :last, pool: :window, dropout_rate: 0.0, classes: 10}

  defp parameters(trial, shape, setting) do
    model = Model.build(trial, setting, shape)
    # Traced, not computed: shapes are all that is asked for.
    state = Axon.trace_init(model, Nx.template(Tuple.insert_at(shape, 0, 1), :f32))
    Axon.ModelState.trainable_parameters(state)
  end

  defp count(parameters), do: for({_, layer} <- parameters, {_, tensor} <- layer, do: Nx.size(tensor)) |> Enum.sum()

  test "models have the contract's parameters" do
    mlp = %{"model" => "mlp", "model.hidden_units" => 128, "model.hidden_layers" => 1}
    norm = %{"model.norm_epsilon" => 1.0e-5, "model.norm_momentum" => 0.1}
    cnn = Map.merge(norm, %{"model" => "cnn", "model.batch_norm" => true})
    resnet = Map.merge(norm, %{"model" => "resnet18", "model.stem" => "cifar"})

    assert mlp |> parameters({28, 28, 1}, @setting) |> count() == 784 * 128 + 128 + 128 * 10 + 10
    assert %{"model" => "lenet5"} |> parameters({28, 28, 1}, @setting) |> count() == 44_426
    assert cnn |> parameters({32, 32, 3}, @setting) |> Map.keys() == ~w(conv1 conv2 hidden norm1 norm2 output)
    assert resnet |> parameters({32, 32, 3}, @setting) |> count() == 11_173_962
  end

  test "weights come back from Axon's layout as they went in, wherever channels stand" do
    for channels <- [:first, :last] do
      layout = Layout.new("lenet5", channels, 1)

      weights = %{
        "conv2.weight" => Nx.iota({16, 6, 5, 5}),
        "dense1.weight" => Nx.iota({120, 256}),
        "norm.bias" => Nx.iota({4})
      }

      data = Layout.from_canonical(weights, layout)

      assert Map.keys(data["norm"]) == ["beta"]
      for {name, tensor} <- Layout.to_canonical(data, layout), do: assert(tensor == weights[name])
    end
  end

  test "a layer of another size or name than the contract's is told with what is expected" do
    wanted = parameters(%{"model" => "lenet5"}, {28, 28, 1}, @setting)
    assert Layout.fit!(wanted, wanted) == :ok

    smaller = put_in(wanted["dense1"]["kernel"], Nx.template({256, 119}, :f32))

    assert_raise ArgumentError,
                 ~r/^dense1.weight: got \{256, 119\} in the model; expected \{256, 120\}.* Correct the layer's name or size/,
                 fn -> Layout.fit!(wanted, smaller) end

    {layer, others} = Map.pop!(wanted, "dense2")

    assert_raise ArgumentError,
                 ~r/^dense2.bias: got none in the model; expected \{84\}.* conv1, conv2, dense1, dense3, fc2\./,
                 fn ->
                   Layout.fit!(wanted, Map.put(others, "fc2", layer))
                 end
  end

  test "a max-pool by reshaping is that of Axon, and drops an odd row and column" do
    x = Nx.iota({2, 3, 7, 5}, type: :f32) |> Nx.multiply(37) |> Nx.remainder(11)
    setting = %{@setting | channels: :first, pool: :reshape}
    reshaped = pool(setting, x)

    assert Nx.shape(reshaped) == {2, 3, 3, 2}
    assert reshaped == pool(%{setting | pool: :window}, x)
  end

  defp pool(setting, x) do
    input = Axon.input("x", shape: put_elem(Nx.shape(x), 0, nil))
    Axon.predict(Model.max_pool(input, setting), Axon.ModelState.empty(), x)
  end

  test "the loss is the mean of softmax cross-entropies on logits" do
    logits = Nx.tensor([[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]])

    expected =
      -(3 - :math.log(:math.exp(1) + :math.exp(2) + :math.exp(3)) + 1 - :math.log(:math.exp(3) + :math.exp(1) + 1)) / 2

    assert_in_delta Nx.to_number(Step.loss(Nx.tensor([[2], [1]]), logits)), expected, 1.0e-6
  end

  test "SGD puts the decay into the gradient and the learning rate outside of the momentum" do
    trial = %{
      "optimizer" => "sgd",
      "optimizer.learning_rate" => 0.5,
      "optimizer.weight_decay" => 0.1,
      "optimizer.momentum" => 0.9
    }

    {init_fn, update_fn} = Optimizer.new(trial)
    weight = %{"w" => Nx.tensor([2.0])}
    gradient = %{"w" => Nx.tensor([1.0])}
    state = Nx.Defn.jit_apply(init_fn, [weight])

    # v = 1 + 0.1 * 2 = 1.2, then 0.9 * 1.2 + 1 + 0.1 * 2 = 2.28; each step is -0.5 v.
    {first, state} = Nx.Defn.jit_apply(update_fn, [gradient, state, weight])
    {second, state} = Nx.Defn.jit_apply(update_fn, [gradient, state, weight])
    {slower, _} = Nx.Defn.jit_apply(update_fn, [gradient, Optimizer.put_learning_rate(state, 0.0), weight])

    assert_in_delta Nx.to_number(first["w"][0]), -0.6, 1.0e-6
    assert_in_delta Nx.to_number(second["w"][0]), -1.14, 1.0e-6
    assert Nx.to_number(slower["w"][0]) == 0.0
  end

  test "SGD without momentum keeps no velocity" do
    trial = %{
      "optimizer" => "sgd",
      "optimizer.learning_rate" => 0.5,
      "optimizer.weight_decay" => 0,
      "optimizer.momentum" => 0
    }

    {init_fn, update_fn} = Optimizer.new(trial)
    weight = %{"w" => Nx.tensor([2.0])}
    state = Nx.Defn.jit_apply(init_fn, [weight])
    {change, state} = Nx.Defn.jit_apply(update_fn, [%{"w" => Nx.tensor([1.0])}, state, weight])

    assert Nx.to_number(change["w"][0]) == -0.5
    assert [%{scale: _}] = Tuple.to_list(state)
  end
end
