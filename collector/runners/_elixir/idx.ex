defmodule Deadheat.Idx do
  @moduledoc """
  Reads IDX files of unsigned bytes, the form in which MNIST was published.
  """

  @doc "Reads images: their number, the pixels of each, and all pixels in order."
  @spec read_images!(Path.t()) :: {non_neg_integer, pos_integer, binary}
  def read_images!(path) do
    case File.read!(path) do
      <<0::16, 8, 3, count::32, rows::32, columns::32, pixels::binary>>
      when byte_size(pixels) == count * rows * columns ->
        {count, rows * columns, pixels}

      other ->
        refuse(path, other, "three dimensions")
    end
  end

  @doc "Reads labels: one byte each."
  @spec read_labels!(Path.t()) :: binary
  def read_labels!(path) do
    case File.read!(path) do
      <<0::16, 8, 1, count::32, labels::binary>> when byte_size(labels) == count -> labels
      other -> refuse(path, other, "one dimension")
    end
  end

  @spec refuse(Path.t(), binary, String.t()) :: no_return
  defp refuse(path, content, expected) do
    found = inspect(binary_part(content, 0, min(byte_size(content), 16)))

    raise ArgumentError,
          "#{path}: got #{byte_size(content)} bytes that start with #{found}; expected an IDX file of unsigned " <>
            "bytes with #{expected}. Fetch the data set again."
  end
end
