defmodule Deadheat.Cifar10 do
  @moduledoc """
  Reads CIFAR-10's binary batches: each example is its label in one byte, then 3 × 32 × 32 bytes, channels first.
  """

  @pixels 3 * 32 * 32

  @doc "Reads the batches in order: the number of examples, all pixels, and the labels as bytes."
  @spec read!([Path.t()]) :: {non_neg_integer, binary, binary}
  def read!(paths) do
    {pixels, labels} = paths |> Enum.map(&read_batch!/1) |> Enum.unzip()
    labels = IO.iodata_to_binary(labels)
    {byte_size(labels), IO.iodata_to_binary(pixels), labels}
  end

  @doc "The shape of one image: channels, height, width."
  @spec image_shape() :: [pos_integer]
  def image_shape, do: [3, 32, 32]

  defp read_batch!(path) do
    content = File.read!(path)

    if content == "" or rem(byte_size(content), @pixels + 1) != 0 do
      raise ArgumentError,
            "#{path}: got #{byte_size(content)} bytes; expected a multiple of #{@pixels + 1}, one label and one image " <>
              "each. Fetch the data set again."
    end

    records = for <<label, image::binary-size(@pixels) <- content>>, do: {image, label}
    Enum.unzip(records)
  end
end
