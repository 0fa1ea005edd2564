defmodule ElixirAxon.Setup do
  @moduledoc """
  What this runner can do, told from the trial alone before the framework is loaded. The models are in `ElixirAxon.Model`.
  """

  alias Deadheat.Trial

  @supported %{
    "data.format" => ["idx", "cifar10_binary"],
    "device" => ["cpu", "cuda"],
    "dtype" => ["fp32", "tf32"],
    "loader" => ["resident"],
    "loss" => ["softmax_cross_entropy"],
    "mode" => ["train", "steps", "infer", "gate"],
    "optimizer" => ["sgd", "adam", "adamw"],
    "optimizer.schedule" => ["constant", "cosine"],
    "variant" => ["exla", "exla_loop", "torchx", "torchx_loop", "emlx", "emlx_loop"]
  }

  @doc "Why this runner cannot do the trial, or nil."
  @spec obstacle(Trial.t()) :: String.t() | nil
  def obstacle(trial) do
    Enum.find_value(@supported, fn {key, known} ->
      value = Trial.text!(trial, key)
      unless value in known, do: "#{key} is #{value}; this runner knows #{Enum.join(known, ", ")}"
    end) || precision(trial)
  end

  # Only XLA can be told how precise a GPU's products shall be.
  defp precision(%{"dtype" => "tf32"} = trial) do
    unless Trial.text!(trial, "device") == "cuda" and String.starts_with?(trial["variant"], "exla"),
      do: "dtype is tf32; of this runner's variants only exla on a GPU computes in it"
  end

  defp precision(_), do: nil
end
