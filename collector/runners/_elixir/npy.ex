defmodule Deadheat.Npy do
  @moduledoc """
  Reads and writes `.npy` arrays, version 1.0, C order, little-endian: `<f4`, `<f8`, `<i4`.
  """

  @enforce_keys [:type, :shape, :data]
  defstruct @enforce_keys ++ [where: "array"]

  @typedoc "An array as it lies in the file; `data` has no header, `where` names it in errors."
  @type t :: %__MODULE__{type: :f4 | :f8 | :i4, shape: [non_neg_integer], data: binary, where: Path.t()}

  @types %{"<f4" => :f4, "<f8" => :f8, "<i4" => :i4}
  @sizes %{f4: 4, f8: 8, i4: 4}

  @doc "Reads the array at `path`."
  @spec read!(Path.t()) :: t
  def read!(path), do: path |> File.read!() |> decode(path)

  @doc "The array encoded in `binary`; `where` names it in errors."
  @spec decode(binary, Path.t()) :: t
  def decode(binary, where \\ "array")

  def decode(<<0x93, "NUMPY", 1, 0, size::little-16, header::binary-size(size), data::binary>>, where) do
    with [_, descr] <- Regex.run(~r/'descr': '(.{3})'/, header),
         [_, "False"] <- Regex.run(~r/'fortran_order': (\w+)/, header),
         [_, shape] <- Regex.run(~r/'shape': \(([\d, ]*)\)/, header),
         {:ok, type} <- Map.fetch(@types, descr),
         shape = for(n <- String.split(shape, ",", trim: true), n = String.trim(n), n != "", do: String.to_integer(n)),
         true <- byte_size(data) == Enum.product(shape) * @sizes[type] do
      %__MODULE__{type: type, shape: shape, data: data, where: where}
    else
      _ -> refuse(where, "header #{inspect(header)} with #{byte_size(data)} bytes of data")
    end
  end

  def decode(binary, where), do: refuse(where, "#{inspect(binary_part(binary, 0, min(byte_size(binary), 10)))} first")

  @doc "The elements in C order."
  @spec to_list(t) :: [number]
  def to_list(%__MODULE__{type: type, shape: shape, data: data, where: where}) do
    elements = elements(type, data)

    # NaN and infinity match no float pattern: the comprehension leaves them out.
    if length(elements) != Enum.product(shape) do
      raise ArgumentError,
            "#{where}: got a value that is not finite; expected finite numbers only. Look at what wrote the file, then " <>
              "write it anew."
    end

    elements
  end

  defp elements(:f4, data), do: for(<<x::little-float-32 <- data>>, do: x)
  defp elements(:f8, data), do: for(<<x::little-float-64 <- data>>, do: x)
  defp elements(:i4, data), do: for(<<x::little-signed-32 <- data>>, do: x)

  @doc "The arrays along the first axis."
  @spec split(t) :: [t]
  def split(%__MODULE__{shape: [count | shape], data: data} = array) do
    size = div(byte_size(data), count)
    for i <- 0..(count - 1)//1, do: %{array | shape: shape, data: binary_part(data, i * size, size)}
  end

  @doc "The array of `values` in float64, the only float that the BEAM has."
  @spec from_floats([number], [non_neg_integer]) :: t
  def from_floats(values, shape) do
    data = for x <- values, into: <<>>, do: <<x::little-float-64>>
    true = byte_size(data) == 8 * Enum.product(shape)
    %__MODULE__{type: :f8, shape: shape, data: data}
  end

  @doc "Writes the array to `path`."
  @spec write!(t, Path.t()) :: :ok
  def write!(array, path), do: File.write!(path, encode(array))

  @doc "The array as the bytes of a file."
  @spec encode(t) :: binary
  def encode(%__MODULE__{type: type, shape: shape, data: data}) do
    shape = Enum.map_join(shape, " ", &"#{&1},")
    header = "{'descr': '<#{type}', 'fortran_order': False, 'shape': (#{shape}), }"
    # The format wants the data to start at a multiple of 64: 10 bytes stand before the header, one newline ends it.
    padding = 63 - rem(10 + byte_size(header), 64)
    header = header <> String.duplicate(" ", padding) <> "\n"
    <<0x93, "NUMPY", 1, 0, byte_size(header)::little-16, header::binary, data::binary>>
  end

  @spec refuse(Path.t(), String.t()) :: no_return
  defp refuse(where, found) do
    raise ArgumentError,
          "#{where}: got #{found}; expected .npy 1.0 in C order of <f4, <f8 or <i4. Write it with numpy.save."
  end
end
