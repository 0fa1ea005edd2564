defmodule ElixirBeam.Setup do
  @moduledoc """
  Everything a trial needs before its first step: files read, pixels standardised, model built.
  """

  alias Deadheat.{Events, Trial}
  alias ElixirBeam.{Data, Model, Optimizer}

  @enforce_keys [:trial, :train, :test, :order, :palette, :parameters]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          trial: Trial.t(),
          train: Data.t(),
          test: Data.t(),
          order: [[[non_neg_integer]]],
          palette: Data.palette(),
          parameters: Model.parameters()
        }

  @supported %{
    "data.format" => ["idx"],
    "device" => ["cpu"],
    "dtype" => ["fp32"],
    "loader" => ["resident"],
    "loss" => ["softmax_cross_entropy"],
    "mode" => ["train", "steps", "gate"],
    "model" => ["mlp"],
    "optimizer" => Optimizer.known(),
    "optimizer.schedule" => ["constant"]
  }

  @doc "Why this runner cannot do the trial, or nil."
  @spec obstacle(Trial.t()) :: String.t() | nil
  def obstacle(trial) do
    unknown =
      Enum.find_value(@supported, fn {key, known} ->
        value = Trial.text!(trial, key)
        unless value in known, do: "#{key} is #{value}; this runner knows #{Enum.join(known, ", ")}"
      end)

    unknown || too_many(trial)
  end

  defp too_many(trial) do
    counts = [
      {"model.hidden_layers", Trial.integer!(trial, "model.hidden_layers")},
      {"channels of data.mean", length(Trial.floats!(trial, "data.mean"))}
    ]

    Enum.find_value(counts, fn {key, count} -> if count != 1, do: "#{key} is #{count}; this runner knows 1" end)
  end

  @doc "Makes the trial ready, and writes the events of its phases."
  @spec prepare!(Trial.t(), Events.t()) :: t
  def prepare!(trial, events) do
    {train, test} = {Data.read!(trial, "train"), Data.read!(trial, "test")}
    {order, arrays} = {Data.read_order!(trial), Model.read!(Trial.text!(trial, "weights"))}
    Events.write(events, :load_stop)

    [mean] = Trial.floats!(trial, "data.mean")
    [std] = Trial.floats!(trial, "data.std")
    palette = Data.palette(mean, std)
    Events.write(events, :preprocess_stop)

    parameters = Model.new(arrays)
    Events.write(events, :build_stop, parameters: Model.count(parameters))

    %__MODULE__{trial: trial, train: train, test: test, order: order, palette: palette, parameters: parameters}
  end
end
