defmodule ElixirBeam.WorkersTest do
  use ExUnit.Case, async: true

  alias ElixirBeam.{Data, Setup, Tensor, Train}

  @inputs 20
  @hidden 7
  @classes 3
  @examples 24

  setup do
    :rand.seed(:exsss, 5)

    parameters = %{
      "hidden.weight" => matrix(@hidden, @inputs),
      "hidden.bias" => Tensor.new(floats(@hidden)),
      "output.weight" => matrix(@classes, @hidden),
      "output.bias" => Tensor.new(floats(@classes))
    }

    trial = %{
      "variant" => "default",
      "threads" => 3,
      "seed" => 4,
      "eval_batch_size" => 10,
      "optimizer" => "adam",
      "optimizer.learning_rate" => 0.05,
      "optimizer.weight_decay" => 0.01,
      "optimizer.beta1" => 0.9,
      "optimizer.beta2" => 0.999,
      "optimizer.epsilon" => 1.0e-8
    }

    data = %Data{
      count: @examples,
      image_bytes: @inputs,
      pixels: :rand.bytes(@examples * @inputs),
      labels: for(_ <- 1..@examples, into: <<>>, do: <<:rand.uniform(@classes) - 1>>)
    }

    setup = %Setup{
      trial: trial,
      train: data,
      test: data,
      order: [],
      palette: Data.palette(0.1307, 0.3081),
      parameters: parameters
    }

    %{alone: setup, shared: %{setup | trial: %{trial | "variant" => "parallel"}}}
  end

  defp floats(n), do: for(_ <- 1..n, do: :rand.normal() / 2)
  defp matrix(rows, columns), do: Tensor.new(for _ <- 1..rows, do: floats(columns))

  defp train(setup) do
    state = Train.initial_state(setup, 0.5)
    batches = Enum.chunk_every(0..(@examples - 1), 8)

    {state, losses} =
      Enum.reduce(batches, {state, []}, fn indices, {state, losses} ->
        {state, loss} = Train.step(state, setup, indices)
        {state, [loss | losses]}
      end)

    result = {losses, Train.parameters(state), setup |> Train.evaluate(state) |> Enum.to_list()}
    Train.stop(state)
    result
  end

  test "units in three processes train to the very numbers of one, with dropout", %{alone: alone, shared: shared} do
    assert train(shared) == train(alone)
  end

  test "gradients, losses and given updates are the very numbers of one process", %{alone: alone, shared: shared} do
    [one, many] =
      for setup <- [alone, shared] do
        state = Train.initial_state(setup, 0.5)
        gradient = Train.gradient(state, setup, [3, 1, 4])
        {loss, logits, _} = Train.loss(state, setup, [1, 5])
        updated = state |> Train.update(gradient) |> Train.parameters()
        Train.stop(state)
        {gradient, loss, logits, updated}
      end

    assert one == many
  end

  test "a worker whose arithmetic leaves the finite numbers tells whoever asks next", %{shared: shared} do
    shared = put_in(shared.trial["optimizer.learning_rate"], 1.0e308)
    state = Train.initial_state(shared, 0.0)

    assert_raise ArithmeticError, fn ->
      Enum.reduce(1..3, state, fn _, state ->
        {state, _} =
          Train.step(%{state | output: shared.parameters |> Map.take(Map.keys(state.output))}, shared, [0, 1])

        state
      end)
    end

    Train.stop(state)
  end

  test "a tensor that was split is whole again" do
    for tensor <- [matrix(7, 20), Tensor.new(floats(7))], count <- 1..7 do
      parts = Tensor.split(tensor, count)

      assert length(parts) == count
      assert Tensor.join(parts) == tensor
    end
  end
end
