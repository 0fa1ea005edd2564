defmodule ElixirAxon.Layout do
  @moduledoc """
  Between the canonical layout of weights (contract §5) and Axon's, off the clock.

  Axon's dense kernels are `[in, out]`. Its convolutions are `[height, width, in, out]` with channels last, and
  `[out, in, height, width]` with channels first. What flattens an image with channels last gives height, width,
  channels, so the rows of the dense kernel behind it are put in that order.
  """

  alias Deadheat.Npy
  alias ElixirAxon.Model

  @typedoc "Tensors by canonical name, `<layer>.<parameter>`."
  @type weights :: %{String.t() => Nx.Tensor.t()}

  @typedoc "Where channels stand, and which dense layer reads how many flattened channels."
  @type t :: %{channels: :first | :last, flattened: {String.t(), pos_integer} | nil}

  @doc "The layout of a model with images of so many channels."
  @spec new(String.t(), :first | :last, pos_integer) :: t
  def new(model, channels, image_channels),
    do: %{channels: channels, flattened: Model.flattened(model, image_channels)}

  @doc "Reads `<layer>.<parameter>.npy` of a folder."
  @spec read!(Path.t()) :: %{String.t() => Npy.t()}
  def read!(folder) do
    for path <- folder |> Path.join("*.npy") |> Path.wildcard(), into: %{} do
      {Path.basename(path, ".npy"), Npy.read!(path)}
    end
  end

  @doc "The tensor that lies in a file."
  @spec tensor(Npy.t()) :: Nx.Tensor.t()
  def tensor(%Npy{type: type, shape: shape, data: data}) do
    data |> Nx.from_binary(%{f4: :f32, f8: :f64, i4: :s32}[type]) |> Nx.reshape(List.to_tuple(shape))
  end

  @doc "Writes a tensor as `<folder>/<name>.npy`."
  @spec write!(Nx.Tensor.t(), Path.t(), String.t()) :: :ok
  def write!(tensor, folder, name) do
    {type, tensor} =
      case Nx.type(tensor) do
        {:f, 64} -> {:f8, tensor}
        {:s, _} -> {:i4, Nx.as_type(tensor, :s32)}
        _ -> {:f4, Nx.as_type(tensor, :f32)}
      end

    array = %Npy{type: type, shape: tensor |> Nx.shape() |> Tuple.to_list(), data: Nx.to_binary(tensor)}
    Npy.write!(array, Path.join(folder, name <> ".npy"))
  end

  @doc "Images `{examples, channels, height, width}` with channels where the layout has them."
  @spec images(Nx.Tensor.t(), :first | :last) :: Nx.Tensor.t()
  def images(images, :first), do: images
  def images(images, :last), do: Nx.transpose(images, axes: [0, 2, 3, 1])

  @doc "Canonical weights as the nested map of `Axon.ModelState`."
  @spec from_canonical(weights, t) :: %{String.t() => %{String.t() => Nx.Tensor.t()}}
  def from_canonical(weights, layout) do
    Enum.reduce(weights, %{}, fn {name, tensor}, data ->
      [layer, parameter] = String.split(name, ".")
      key = axon_key(parameter, norm?(layer))
      Map.update(data, layer, %{key => to_axon(tensor, name, layout)}, &Map.put(&1, key, to_axon(tensor, name, layout)))
    end)
  end

  @doc "The canonical weights of a nested map as Axon has it: parameters, gradients or running statistics."
  @spec to_canonical(map, t) :: weights
  def to_canonical(data, layout) do
    for {layer, parameters} <- data, {key, tensor} <- parameters, key != "key", into: %{} do
      name = "#{layer}.#{canonical_parameter(key)}"
      {name, to_contract(tensor, name, layout)}
    end
  end

  @doc "Raises where weights as Axon has them are not those that a model asks for: layers, parameters and shapes."
  @spec fit!(map, map) :: :ok
  def fit!(given, wanted) do
    layers = wanted |> Map.keys() |> Enum.sort() |> Enum.join(", ")
    {given, wanted} = {shapes(given), shapes(wanted)}

    for name <- Enum.sort(Map.keys(Map.merge(given, wanted))), given[name] != wanted[name] do
      raise ArgumentError,
            "#{name}: got #{told(wanted[name])} in the model; expected #{told(given[name])}, as the contract's weights " <>
              "have it in Axon's layout. The model's layers are #{layers}. " <>
              "Correct the layer's name or size in model.ex (contract §5)."
    end

    :ok
  end

  defp shapes(data) do
    for {layer, parameters} <- data,
        {key, tensor} <- parameters,
        key != "key",
        into: %{},
        do: {"#{layer}.#{canonical_parameter(key)}", Nx.shape(tensor)}
  end

  defp told(nil), do: "none"
  defp told(shape), do: inspect(shape)

  defp norm?(layer), do: String.contains?(layer, "norm")

  defp axon_key("weight", true), do: "gamma"
  defp axon_key("bias", true), do: "beta"
  defp axon_key("weight", false), do: "kernel"
  defp axon_key("bias", false), do: "bias"
  defp axon_key("running_mean", true), do: "mean"
  defp axon_key("running_var", true), do: "var"

  defp canonical_parameter(key) when key in ["gamma", "kernel"], do: "weight"
  defp canonical_parameter(key) when key in ["beta", "bias"], do: "bias"
  defp canonical_parameter("mean"), do: "running_mean"
  defp canonical_parameter("var"), do: "running_var"

  defp to_axon(tensor, name, %{channels: channels} = layout) do
    case {Nx.shape(tensor), channels} do
      {{_, _, _, _}, :first} ->
        tensor

      {{_, _, _, _}, :last} ->
        Nx.transpose(tensor, axes: [2, 3, 1, 0])

      {{out, inputs}, _} ->
        planes = planes(name, layout)
        tensor |> Nx.reshape({out, planes, :auto}) |> Nx.transpose(axes: [2, 1, 0]) |> Nx.reshape({inputs, out})

      _ ->
        tensor
    end
  end

  defp to_contract(tensor, name, %{channels: channels} = layout) do
    case {Nx.shape(tensor), channels} do
      {{_, _, _, _}, :first} ->
        tensor

      {{_, _, _, _}, :last} ->
        Nx.transpose(tensor, axes: [3, 2, 0, 1])

      {{inputs, out}, _} ->
        planes = planes(name, layout)
        tensor |> Nx.reshape({:auto, planes, out}) |> Nx.transpose(axes: [2, 1, 0]) |> Nx.reshape({out, inputs})

      _ ->
        tensor
    end
  end

  # How many channels a dense layer reads pixel by pixel: one where no image with channels last was flattened.
  defp planes(name, %{channels: :last, flattened: {layer, channels}}),
    do: if(name == layer <> ".weight", do: channels, else: 1)

  defp planes(_, _), do: 1
end
