defmodule ElixirBeam.Tensor do
  @moduledoc """
  One weight matrix or bias as rows of vectors. A bias is a matrix of one row.
  """

  alias Deadheat.{Npy, Schedule}
  alias ElixirBeam.Vector

  @enforce_keys [:shape, :rows]
  defstruct @enforce_keys

  @type t :: %__MODULE__{shape: [pos_integer], rows: [Vector.t()]}

  @doc "The tensor of a list (one dimension) or of a list of rows (two)."
  @spec new([float] | [[float]]) :: t
  def new([row | _] = rows) when is_list(row) do
    %__MODULE__{shape: [length(rows), length(row)], rows: Enum.map(rows, &Vector.from_list/1)}
  end

  def new(floats), do: %__MODULE__{shape: [length(floats)], rows: [Vector.from_list(floats)]}

  @doc "The tensor that an array holds."
  @spec from_npy(Npy.t()) :: t
  def from_npy(%Npy{shape: shape} = array) do
    rows = array |> Npy.to_list() |> Enum.chunk_every(List.last(shape)) |> Enum.map(&Vector.from_list/1)
    %__MODULE__{shape: shape, rows: rows}
  end

  @doc "The array that holds the tensor."
  @spec to_npy(t) :: Npy.t()
  def to_npy(%__MODULE__{shape: shape} = tensor), do: tensor |> to_list() |> Npy.from_floats(shape)

  @doc "The elements in C order."
  @spec to_list(t) :: [float]
  def to_list(%__MODULE__{shape: shape, rows: rows}), do: Enum.flat_map(rows, &Vector.to_list(&1, List.last(shape)))

  @doc "The tensor in `count` parts along its first axis, which differ by one row at most."
  @spec split(t, pos_integer) :: [t]
  def split(%__MODULE__{shape: [_, columns], rows: rows}, count),
    do: for(rows <- Schedule.cut(rows, count), do: %__MODULE__{shape: [length(rows), columns], rows: rows})

  def split(%__MODULE__{shape: [_]} = tensor, count), do: tensor |> to_list() |> Schedule.cut(count) |> Enum.map(&new/1)

  @doc "The tensor whose parts these are."
  @spec join([t, ...]) :: t
  def join([%__MODULE__{shape: [_, columns]} | _] = parts) do
    rows = Enum.flat_map(parts, & &1.rows)
    %__MODULE__{shape: [length(rows), columns], rows: rows}
  end

  def join([%__MODULE__{shape: [_]} | _] = parts), do: parts |> Enum.flat_map(&to_list/1) |> new()

  @doc "A tensor of zeros, of the same shape."
  @spec zeros_like(t) :: t
  def zeros_like(tensor), do: map([tensor], fn [row] -> Vector.scale(row, 0.0) end)

  @doc "The tensor whose rows `function` makes of the rows of `tensors`, which have one shape."
  @spec map([t, ...], ([Vector.t()] -> Vector.t())) :: t
  def map([%__MODULE__{shape: shape} | _] = tensors, function) do
    %__MODULE__{shape: shape, rows: Enum.zip_with(Enum.map(tensors, & &1.rows), function)}
  end
end
