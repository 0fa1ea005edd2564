defmodule Deadheat.ScheduleTest do
  use ExUnit.Case, async: true
  doctest Deadheat.Schedule

  alias Deadheat.Schedule

  @trial %{"batch_size" => 48, "evaluations_per_epoch" => 4, "chunks_per_epoch" => 8}

  test "pairs cover an epoch with its smaller last batch, and tell where they end" do
    pairs = Schedule.pairs(@trial, 2, 640)

    assert Enum.map(pairs, & &1.epoch) == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert Enum.map(pairs, & &1.row) == [0, 0, 0, 0, 1, 1, 1, 1]
    # 14 batches, the last of 16 examples, cut after 3, 7, 10 and 14.
    assert Enum.map(Enum.take(pairs, 4), &length(&1.batches)) == [3, 4, 3, 4]
    assert List.last(List.last(pairs).batches) == {624, 16}
    assert hd(pairs).stops == [1, 3]
  end

  test "an epoch without evaluations is one pair" do
    trial = %{@trial | "evaluations_per_epoch" => 0, "chunks_per_epoch" => 5}

    assert [%{epoch: 1.0, batches: batches, stops: [1, 2, 4, 5, 7]}] = Schedule.pairs(trial, 1, 7 * 48)
    assert length(batches) == 7
  end

  test "more evaluations than batches cannot be cut" do
    trial = %{"batch_size" => 32, "evaluations_per_epoch" => 4}

    assert Schedule.uncut(trial, 128) == nil
    assert Schedule.uncut(trial, 96) == "evaluations_per_epoch is 4; expected at most 3, the batches of an epoch"
  end

  test "cosine starts at the learning rate and ends near 0" do
    trial = %{"optimizer.learning_rate" => 0.5, "optimizer.schedule" => "cosine", "optimizer.schedule_epochs" => 4}

    assert Schedule.learning_rate(trial, 0) == 0.5
    assert_in_delta Schedule.learning_rate(trial, 2), 0.25, 1.0e-15
    assert_in_delta Schedule.learning_rate(trial, 3), 0.5 * (1 - :math.sqrt(0.5)) / 2, 1.0e-15
    assert Schedule.learning_rate(%{trial | "optimizer.schedule" => "constant"}, 3) == 0.5
  end
end
