defmodule ElixirBeam.Data do
  @moduledoc """
  The data set, resident: every image lies in memory before training, encoded by the 256 values a pixel can take.

  A standardised pixel is one of 256 numbers, so the data set is kept as the bytes of the file and one table of those
  numbers. Gathering a batch looks each pixel up, on the clock: some 2 µs per image, where floats of their own would
  take 24 bytes per pixel.
  """

  alias Deadheat.{Idx, Npy, Trial}
  alias ElixirBeam.Vector

  @enforce_keys [:count, :image_bytes, :pixels, :labels]
  defstruct @enforce_keys

  @typedoc "Images and labels as published."
  @type t :: %__MODULE__{count: pos_integer, image_bytes: pos_integer, pixels: binary, labels: binary}

  @typedoc "The standardised value of each pixel value."
  @type palette :: tuple

  @doc "Reads one half of the data set: `train` or `test`."
  @spec read!(Trial.t(), String.t()) :: t
  def read!(trial, half) do
    {_, [count, rows, columns], pixels} = Idx.read!(Trial.text!(trial, "data.#{half}_images"), [:u8], [3])
    {_, _, labels} = Idx.read!(Trial.text!(trial, "data.#{half}_labels"), [:u8], [1])

    if byte_size(labels) != count do
      raise ArgumentError,
            "data.#{half}_labels: got #{byte_size(labels)} labels for #{count} images; expected one each. " <>
              "Fetch the data set again."
    end

    %__MODULE__{count: count, image_bytes: rows * columns, pixels: pixels, labels: labels}
  end

  @doc "Reads the batch order: for each epoch the indices of its batches."
  @spec read_order!(Trial.t()) :: [[[non_neg_integer]]]
  def read_order!(trial) do
    %Npy{type: :i4, shape: [_, examples]} = order = Npy.read!(Trial.text!(trial, "order"))

    order
    |> Npy.to_list()
    |> Enum.chunk_every(examples)
    |> Enum.map(&Enum.chunk_every(&1, Trial.integer!(trial, "batch_size")))
  end

  @doc """
  The palette of `(pixel / 255 - mean) / std`, each operation rounded to float32 as the contract asks.

      iex> palette = ElixirBeam.Data.palette(0.5, 0.25)
      iex> {elem(palette, 0), elem(palette, 255)}
      {-2.0, 2.0}
  """
  @spec palette(float, float) :: palette
  def palette(mean, std) do
    {mean, std} = {float32(mean), float32(std)}
    List.to_tuple(for pixel <- 0..255, do: float32(float32(float32(pixel / 255) - mean) / std))
  end

  @doc "Gathers the images of the examples that `indices` name, from 0."
  @spec images(t, palette, [non_neg_integer]) :: [Vector.t()]
  def images(%__MODULE__{image_bytes: size, pixels: pixels}, palette, indices),
    do: for(i <- indices, do: pixels |> binary_part(i * size, size) |> Vector.lookup(palette))

  @doc "The labels of the examples that `indices` name, from 0."
  @spec labels(t, [non_neg_integer]) :: [byte]
  def labels(%__MODULE__{labels: labels}, indices), do: for(i <- indices, do: :binary.at(labels, i))

  defp float32(x) do
    <<rounded::float-32>> = <<x::float-32>>
    rounded
  end
end
