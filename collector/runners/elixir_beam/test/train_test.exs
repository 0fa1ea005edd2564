defmodule ElixirBeam.TrainTest do
  use ExUnit.Case, async: true
  doctest ElixirBeam.Data

  alias ElixirBeam.{Data, Setup, Train, Vector}

  defp batches(n), do: Enum.map(1..n, &[&1])

  test "an epoch is cut at its evaluations, and each part into chunks" do
    trial = %{"batch_size" => 1, "evaluations_per_epoch" => 4, "chunks_per_epoch" => 8}
    pairs = Train.pairs(trial, [batches(10), batches(10)])

    assert Enum.map(pairs, &elem(&1, 0)) == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    # Cut after batches 10k/4 = 2, 5, 7, 10; inside three steps after 3c/2 = 1, 3.
    assert Enum.map(Enum.take(pairs, 2), &elem(&1, 1)) == [[[[1]], [[2]]], [[[3]], [[4], [5]]]]
  end

  test "in mode steps one pair covers the epoch" do
    trial = %{"batch_size" => 1, "evaluations_per_epoch" => 0, "chunks_per_epoch" => 5}

    assert [{1.0, chunks}] = Train.pairs(trial, [batches(50)])
    assert Enum.map(chunks, &length/1) == [10, 10, 10, 10, 10]
  end

  test "a chunk without steps is left out" do
    trial = %{"batch_size" => 1, "evaluations_per_epoch" => 0, "chunks_per_epoch" => 5}

    assert [{1.0, chunks}] = Train.pairs(trial, [batches(3)])
    assert chunks == [[[1]], [[2]], [[3]]]
  end

  test "fewer chunks than evaluations leave one for each" do
    trial = %{"batch_size" => 2, "evaluations_per_epoch" => 2, "chunks_per_epoch" => 1}

    assert Train.pairs(trial, [[[1, 2], [3, 4], [5]]]) == [{0.5, [[[1, 2]]]}, {1.0, [[[3, 4], [5]]]}]
  end

  test "the score counts correct predictions and averages the loss" do
    score = Train.score([{[2.0, 2.0 - :math.log(3)], 0}, {[0.0, 1.0], 0}, {[1.0, 1.0], 1}])

    assert %{examples: 3, correct: 1} = score
    expected = (:math.log(4 / 3) + :math.log(1 + :math.exp(1)) + :math.log(2)) / 3
    assert_in_delta score.loss, expected, 1.0e-12
  end

  test "a batch holds the standardised images and the labels that the order names" do
    data = %Data{count: 3, image_bytes: 2, pixels: <<0, 255, 10, 20, 30, 40>>, labels: <<5, 6, 7>>}
    palette = Data.palette(0.1307, 0.3081)
    images = Data.images(data, palette, [2, 0])

    assert Data.labels(data, [2, 0]) == [7, 5]
    assert [third, first] = Enum.map(images, &Vector.to_list(&1, 2))
    assert third == [elem(palette, 30), elem(palette, 40)]
    # What NumPy makes of it in float32.
    assert_in_delta hd(first), -0.42421296, 1.0e-8
    assert_in_delta List.last(first), 2.8214867, 1.0e-7
  end

  test "what this runner cannot do is named" do
    trial = %{
      "data.format" => "idx",
      "device" => "cpu",
      "dtype" => "fp32",
      "loader" => "resident",
      "loss" => "softmax_cross_entropy",
      "mode" => "train",
      "model" => "mlp",
      "model.hidden_layers" => 1,
      "data.mean" => [0.1307],
      "optimizer" => "adam",
      "optimizer.schedule" => "constant"
    }

    assert Setup.obstacle(trial) == nil
    assert Setup.obstacle(%{trial | "model" => "lenet5"}) == "model is lenet5; this runner knows mlp"
    assert Setup.obstacle(%{trial | "device" => "cuda"}) == "device is cuda; this runner knows cpu"
    assert Setup.obstacle(%{trial | "model.hidden_layers" => 2}) == "model.hidden_layers is 2; this runner knows 1"
  end
end
