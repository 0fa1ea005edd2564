defmodule ElixirBeam.OptimizerTest do
  use ExUnit.Case, async: true

  alias ElixirBeam.{Optimizer, Tensor}

  @weights [1.0, -2.0, 0.5]
  @gradients [[0.1, 0.2, -0.3], [0.4, -0.1, 0.0], [1.0e-6, 0.3, 0.2]]

  @sgd %{"optimizer" => "sgd", "optimizer.learning_rate" => 0.1, "optimizer.momentum" => 0.9}
  @adam %{
    "optimizer" => "adam",
    "optimizer.learning_rate" => 0.01,
    "optimizer.beta1" => 0.9,
    "optimizer.beta2" => 0.999,
    "optimizer.epsilon" => 1.0e-3
  }

  defp train(trial) do
    parameters = %{"w" => Tensor.new(@weights)}

    {parameters, optimizer} =
      Enum.reduce(@gradients, {parameters, Optimizer.new(trial, parameters)}, fn gradient, {parameters, optimizer} ->
        Optimizer.update(optimizer, parameters, %{"w" => Tensor.new(gradient)})
      end)

    assert optimizer.steps == length(@gradients)
    Tensor.to_list(parameters["w"])
  end

  # One weight at a time, straight from the contract.
  defp expected(step, state, decay) do
    for {w, column} <- Enum.zip(@weights, Enum.zip_with(@gradients, & &1)) do
      {w, _} =
        column
        |> Enum.with_index(1)
        |> Enum.reduce({w, state}, fn {g, t}, {w, state} -> step.(w, g + decay * w, state, t) end)

      w
    end
  end

  defp sgd(w, g, v, _) do
    v = 0.9 * v + g
    {w - 0.1 * v, v}
  end

  defp adam(w, g, {m, v}, t) do
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    {m_hat, v_hat} = {m / (1 - :math.pow(0.9, t)), v / (1 - :math.pow(0.999, t))}
    {w - 0.01 * m_hat / (:math.sqrt(v_hat) + 1.0e-3), {m, v}}
  end

  defp assert_close(found, expected) do
    assert found != @weights
    Enum.zip_with(found, expected, fn f, e -> assert_in_delta f, e, 1.0e-14 end)
  end

  test "SGD without momentum keeps no velocity" do
    trial = Map.merge(@sgd, %{"optimizer.momentum" => 0, "optimizer.weight_decay" => 0})

    assert Optimizer.new(trial, %{"w" => Tensor.new(@weights)}).moments == []
    assert_close(train(trial), expected(fn w, g, v, _ -> {w - 0.1 * g, v} end, nil, 0.0))
  end

  for decay <- [0.0, 0.05] do
    test "SGD follows the contract at weight decay #{decay}" do
      found = train(Map.put(@sgd, "optimizer.weight_decay", unquote(decay)))

      assert_close(found, expected(&sgd/4, 0.0, unquote(decay)))
    end

    test "Adam follows the contract at weight decay #{decay}" do
      found = train(Map.put(@adam, "optimizer.weight_decay", unquote(decay)))

      assert_close(found, expected(&adam/4, {0.0, 0.0}, unquote(decay)))
    end
  end
end
