defmodule ElixirAxon.Data do
  @moduledoc """
  The data set, resident: standardised images and labels as two tensors on the device.
  """

  alias Deadheat.{Cifar10, Idx, Npy, Trial}
  alias ElixirAxon.Layout

  @enforce_keys [:images, :labels, :test, :test_examples, :image_shape]
  defstruct @enforce_keys

  @typedoc "Training images and labels `{examples, 1}`, and the test set in batches of `eval_batch_size`."
  @type t :: %__MODULE__{
          images: Nx.Tensor.t(),
          labels: Nx.Tensor.t(),
          test: [{Nx.Tensor.t(), Nx.Tensor.t()}],
          test_examples: pos_integer,
          image_shape: tuple
        }

  @typedoc "Images as published: shape `[examples, channels, height, width]` and bytes; and labels as int32."
  @type raw :: {[pos_integer], binary, binary}

  @doc "Reads one half of the data set: `train` or `test`."
  @spec read!(Trial.t(), String.t()) :: raw
  def read!(trial, half) do
    {shape, pixels, labels} = read_files!(Trial.text!(trial, "data.format"), trial, half)

    if hd(shape) != div(byte_size(labels), 4) do
      raise ArgumentError,
            "data.#{half}_labels: got #{div(byte_size(labels), 4)} labels for #{hd(shape)} images; expected one each. " <>
              "Fetch the data set again."
    end

    {shape, pixels, labels}
  end

  @doc "Puts both halves on the device, standardised."
  @spec place(Trial.t(), raw, raw, :first | :last) :: t
  def place(trial, train, test, channels) do
    {images, labels} = tensors(trial, train, channels)
    {test_images, test_labels} = tensors(trial, test, channels)
    examples = Nx.axis_size(test_images, 0)

    test =
      for {first, count} <- Deadheat.Schedule.batches(examples, Trial.integer!(trial, "eval_batch_size")) do
        {Nx.slice_along_axis(test_images, first, count), Nx.slice_along_axis(test_labels, first, count)}
      end

    %__MODULE__{
      images: images,
      labels: labels,
      test: test,
      test_examples: examples,
      image_shape: images |> Nx.shape() |> Tuple.delete_at(0)
    }
  end

  @doc "All tensors, as a container of Nx."
  @spec all(t) :: tuple
  def all(%__MODULE__{images: images, labels: labels, test: test}), do: {images, labels, List.to_tuple(test)}

  @doc "The indices of each of `batches` of one row of the order, on the device."
  @spec indices(Npy.t(), non_neg_integer, [Deadheat.Schedule.batch()]) :: [Nx.Tensor.t()]
  def indices(%Npy{type: :i4, shape: [_, examples], data: data}, row, batches) do
    for {first, count} <- batches do
      data |> binary_part(4 * (row * examples + first), 4 * count) |> Nx.from_binary(:s32)
    end
  end

  defp read_files!("idx", trial, half) do
    {_, shape, pixels} = Idx.read!(Trial.text!(trial, "data.#{half}_images"), [:u8], [3, 4])
    {type, _, labels} = Idx.read!(Trial.text!(trial, "data.#{half}_labels"), [:u8, :s32], [1])
    {with_channels(shape), pixels, if(type == :u8, do: widen(labels), else: labels)}
  end

  defp read_files!("cifar10_binary", trial, half) do
    {count, pixels, labels} = Cifar10.read!(trial["data.#{half}_batches"])
    {[count | Cifar10.image_shape()], pixels, widen(labels)}
  end

  defp with_channels([count, height, width]), do: [count, 1, height, width]
  defp with_channels([_, _, _, _] = shape), do: shape

  defp widen(bytes), do: for(<<label <- bytes>>, into: <<>>, do: <<label::little-32>>)

  defp tensors(trial, {[count | _] = shape, pixels, labels}, channels) do
    # One operation after another, each rounded to float32: inside a `defn` XLA would multiply by 1 / 255.
    images =
      pixels
      |> Nx.from_binary(:u8)
      |> Nx.reshape(List.to_tuple(shape))
      |> Nx.as_type(:f32)
      |> Nx.divide(255)
      |> Nx.subtract(per_channel(trial, "data.mean"))
      |> Nx.divide(per_channel(trial, "data.std"))
      |> Layout.images(channels)

    {images, labels |> Nx.from_binary(:s32) |> Nx.reshape({count, 1})}
  end

  defp per_channel(trial, key), do: trial |> Trial.floats!(key) |> Nx.tensor(type: :f32) |> Nx.reshape({:auto, 1, 1})
end
