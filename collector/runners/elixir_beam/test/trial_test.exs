defmodule Deadheat.TrialTest do
  use ExUnit.Case, async: true
  doctest Deadheat.Trial

  alias Deadheat.Trial

  @text """
  {
  "batch_size": 32,
  "data.mean": [0.1307],
  "data.train_images": "/data/Ünïcode, with: comma/images",
  "flag": true,
  "list": [1, 2.5, "a"],
  "paths": ["/data/one, two", "/data/[three]"],
  "optimizer.epsilon": 1e-08,
  "optimizer.weight_decay": 0,
  "weights": "w"
  }
  """

  test "every kind of value is read" do
    assert Trial.parse(@text) == %{
             "batch_size" => 32,
             "data.mean" => [0.1307],
             "data.train_images" => "/data/Ünïcode, with: comma/images",
             "flag" => true,
             "list" => [1, 2.5, "a"],
             "paths" => ["/data/one, two", "/data/[three]"],
             "optimizer.epsilon" => 1.0e-8,
             "optimizer.weight_decay" => 0,
             "weights" => "w"
           }
  end

  test "a whole number serves as a float" do
    trial = Trial.parse(@text)

    assert Trial.float!(trial, "optimizer.weight_decay") === 0.0
    assert Trial.integer!(trial, "batch_size") === 32
  end

  test "a missing key and a wrong type name the key, the value and what is expected" do
    trial = Trial.parse(@text)

    assert_raise ArgumentError, ~r/trial: steps: got nil; expected a whole number/, fn ->
      Trial.integer!(trial, "steps")
    end

    assert_raise ArgumentError, ~r/trial: weights: got "w"; expected a number/, fn -> Trial.float!(trial, "weights") end
  end

  test "a line that is no key and value is named" do
    for bad <- [~S("a": nonsense), ~S("a": "unclosed), "a: 1", ~S("a": [1, x]), ~S("a": ["b, c])] do
      assert_raise ArgumentError, ~r/^trial.json line 2: got /, fn -> Trial.parse("{\n#{bad}\n}\n") end
    end
  end
end
