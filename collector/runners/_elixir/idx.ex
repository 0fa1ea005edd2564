defmodule Deadheat.Idx do
  @moduledoc """
  Reads IDX files, the form in which MNIST was published.
  """

  @type type :: :u8 | :s32

  @names %{u8: "unsigned bytes", s32: "int32"}

  @doc """
  Reads an array of unsigned bytes or of int32 with any number of dimensions: its type, its shape, and its elements in
  order, those of int32 little-endian.
  """
  @spec read!(Path.t()) :: {type, [non_neg_integer], binary}
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

  @doc "Reads an array as `read!/1` does, of one of these types and numbers of dimensions."
  @spec read!(Path.t(), [type], [pos_integer]) :: {type, [non_neg_integer], binary}
  def read!(path, types, ranks) do
    {type, shape, _} = array = read!(path)

    if type not in types or length(shape) not in ranks do
      raise ArgumentError,
            "#{path}: got #{@names[type]} in #{length(shape)} dimensions; expected " <>
              "#{Enum.map_join(types, " or ", &@names[&1])} in #{Enum.join(ranks, " or ")}. Fetch the data set again."
    end

    array
  end

  defp elements(0x08, data), do: {:u8, data, 1}
  defp elements(0x0C, data), do: {:s32, for(<<x::signed-32 <- data>>, into: <<>>, do: <<x::little-signed-32>>), 4}
end
