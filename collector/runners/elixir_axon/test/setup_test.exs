defmodule ElixirAxon.SetupTest do
  use ExUnit.Case, async: true

  alias ElixirAxon.Setup

  @trial %{
    "data.format" => "idx",
    "device" => "cpu",
    "dtype" => "fp32",
    "loader" => "resident",
    "loss" => "softmax_cross_entropy",
    "mode" => "train",
    "model" => "lenet5",
    "optimizer" => "adamw",
    "optimizer.schedule" => "cosine",
    "variant" => "exla"
  }

  test "what it knows has no obstacle" do
    assert Setup.obstacle(@trial) == nil
  end

  test "what it does not know is named with what it knows" do
    assert Setup.obstacle(%{@trial | "loader" => "stream"}) == "loader is stream; this runner knows resident"
  end

  test "TensorFloat-32 is that of XLA on a GPU" do
    tf32 = %{@trial | "dtype" => "tf32", "device" => "cuda"}

    assert Setup.obstacle(tf32) == nil
    assert Setup.obstacle(%{tf32 | "device" => "cpu"}) =~ "dtype is tf32"
    assert Setup.obstacle(%{tf32 | "variant" => "torchx"}) =~ "dtype is tf32"
  end
end
