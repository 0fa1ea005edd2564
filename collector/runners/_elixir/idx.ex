defmodule Deadheat.Idx do
  @moduledoc """
  Reads IDX files, the form in which MNIST was published.
  """

  @doc """
  Reads an array of unsigned bytes or of int32 with any number of dimensions: its type, its shape, and its elements in
  order, those of int32 little-endian.
  """
  @spec read!(Path.t()) :: {:u8 | :s32, [non_neg_integer], binary}
  def read!(path) do
    with <<0::16, code, rank, rest::binary>> when code in [0x08, 0x0C] <- File.read!(path),
         <<sizes::binary-size(rank)-unit(32), data::binary>> <- rest,
         shape = for(<<size::32 <- sizes>>, do: size),
         {type, data, bytes} = elements(code, data),
         true <- byte_size(data) == Enum.product(shape) * bytes do
      {type, shape, data}
    else
      _ ->
        raise ArgumentError,
              "#{path}: got #{File.stat!(path).size} bytes that are no IDX file of unsigned bytes or int32, or not as " <>
                "many as its header says; expected one. Fetch the data set again."
    end
  end

  defp elements(0x08, data), do: {:u8, data, 1}
  defp elements(0x0C, data), do: {:s32, for(<<x::signed-32 <- data>>, into: <<>>, do: <<x::little-signed-32>>), 4}

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
