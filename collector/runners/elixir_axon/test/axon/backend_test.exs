defmodule ElixirAxon.BackendTest do
  use ExUnit.Case, async: true

  alias ElixirAxon.Backend

  test "LibTorch's convolutions on a GPU, which nobody can keep to float32, are refused" do
    trial = %{"variant" => "torchx_loop", "device" => "cuda", "model" => "lenet5"}

    assert Backend.obstacle(trial) =~ "device is cuda; Torchx cannot switch off TensorFloat-32"
    refute to_string(Backend.obstacle(%{trial | "model" => "mlp"})) =~ "TensorFloat-32"
  end

  test "what no backend has is named" do
    assert Backend.obstacle(%{"variant" => "emlx", "device" => "cuda"}) == "device is cuda; emlx knows cpu"

    assert Backend.obstacle(%{"variant" => "torchx", "device" => "cpu", "model.stem" => "imagenet"}) =~
             "model.stem is imagenet"
  end
end
