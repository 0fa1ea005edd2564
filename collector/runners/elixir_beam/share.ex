defmodule ElixirBeam.Share do
  @moduledoc """
  Hidden units, all or some of them: their weights, the optimizer of these, and the images they looked at last.

  The hidden layer is 99 % of the arithmetic. In the variant `default` one share holds all of it; in `parallel` each
  worker holds a share, and `ElixirBeam.Workers` has the same functions as this module.
  """

  alias Deadheat.Trial
  alias ElixirBeam.{Data, Model, Optimizer, Tensor, Vector}

  @enforce_keys [:trial, :sets, :palette, :parameters, :optimizer]
  defstruct @enforce_keys ++ [images: []]

  @type t :: %__MODULE__{
          trial: Trial.t(),
          sets: %{train: Data.t(), test: Data.t()},
          palette: Data.palette(),
          parameters: Model.parameters(),
          optimizer: Optimizer.t(),
          images: [Vector.t()]
        }

  @doc "All units of `parameters`, whose other layers are left aside, with a fresh optimizer."
  @spec new(Trial.t(), %{train: Data.t(), test: Data.t()}, Data.palette(), Model.parameters()) :: t
  def new(trial, sets, palette, parameters) do
    parameters = Map.take(parameters, Model.hidden_names())

    %__MODULE__{
      trial: trial,
      sets: sets,
      palette: palette,
      parameters: parameters,
      optimizer: Optimizer.new(trial, parameters)
    }
  end

  @doc "The units shared out among `count`, in order, each with a fresh optimizer."
  @spec split(t, pos_integer) :: [t]
  def split(%__MODULE__{trial: trial} = share, count) do
    for parameters <- split_tensors(share.parameters, count) do
      %{share | parameters: parameters, optimizer: Optimizer.new(trial, parameters)}
    end
  end

  @doc "Tensors of some units in `count` parts, in the order of the units."
  @spec split_tensors(Model.parameters(), pos_integer) :: [Model.parameters()]
  def split_tensors(tensors, count) do
    tensors
    |> Enum.map(fn {name, tensor} -> tensor |> Tensor.split(count) |> Enum.map(&{name, &1}) end)
    |> Enum.zip_with(&Map.new/1)
  end

  @doc "What each unit gives for each of the examples that `indices` name in `half`, before ReLU."
  @spec outputs(t, :train | :test, [non_neg_integer]) :: {[[float]], t}
  def outputs(%__MODULE__{sets: sets, palette: palette} = share, half, indices) do
    images = Data.images(Map.fetch!(sets, half), palette, indices)
    {Model.outputs(share.parameters, images), %{share | images: images}}
  end

  @doc "The gradient of what pulls at each unit, on the images of the last `outputs/3`."
  @spec gradient(t, [[float]]) :: Model.parameters()
  def gradient(%__MODULE__{} = share, pulls), do: Model.gradient_below(share.parameters, pulls, share.images)

  @doc "One step of the optimizer along `gradient`."
  @spec update(t, Model.parameters()) :: t
  def update(%__MODULE__{} = share, gradient) do
    {parameters, optimizer} = Optimizer.update(share.optimizer, share.parameters, gradient)
    # The images are done with: kept, they would be copied by each collection.
    %{share | parameters: parameters, optimizer: optimizer, images: []}
  end

  @doc "One step of the optimizer along the gradient of `pulls`."
  @spec learn(t, [[float]]) :: t
  def learn(share, pulls), do: update(share, gradient(share, pulls))

  @doc "The weights and biases."
  @spec parameters(t) :: Model.parameters()
  def parameters(%__MODULE__{parameters: parameters}), do: parameters

  @doc "Returns when everything asked for is done: here at once."
  @spec synchronise(t) :: :ok
  def synchronise(%__MODULE__{}), do: :ok

  @doc "Ends what was started: here nothing."
  @spec stop(t) :: :ok
  def stop(%__MODULE__{}), do: :ok
end
