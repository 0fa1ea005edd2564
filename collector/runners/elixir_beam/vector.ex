defmodule ElixirBeam.Vector do
  @moduledoc """
  Vectors of floats, and the arithmetic that training spends itself on.

  The last chunk of a vector is filled up with zeros. Every operation here maps zeros to zeros, or to a sum that
  they do not change, so the filling never shows.
  """

  import ElixirBeam.Unroll

  @typedoc "A list of chunks, each a tuple of floats; see `ElixirBeam.Unroll`."
  @type t :: [tuple]

  @doc "The vector of `floats`."
  @spec from_list([float]) :: t
  def from_list(floats) do
    floats
    |> Enum.chunk_every(width(), width(), List.duplicate(0.0, width()))
    |> Enum.map(&List.to_tuple/1)
  end

  @doc "The first `count` floats of `vector`."
  @spec to_list(t, non_neg_integer) :: [float]
  def to_list(vector, count), do: vector |> Enum.flat_map(&Tuple.to_list/1) |> Enum.take(count)

  @doc "The vector of the entries of `table` that `bytes` name, from 0."
  @spec lookup(binary, tuple) :: t
  deflookup(:lookup)
  def lookup(<<>>, _), do: []
  def lookup(bytes, table), do: from_list(for <<byte <- bytes>>, do: elem(table, byte))

  @doc "The scalar product of `row` with each of `vectors`, plus `bias`."
  @spec affine(t, float, [t]) :: [float]
  def affine(row, bias, [x1, x2, x3, x4 | rest]) do
    {y1, y2, y3, y4} = dot_four(row, x1, x2, x3, x4, bias, bias, bias, bias)
    [y1, y2, y3, y4 | affine(row, bias, rest)]
  end

  def affine(row, bias, [x | rest]) do
    {y} = dot_one(row, x, bias)
    [y | affine(row, bias, rest)]
  end

  def affine(_, _, []), do: []

  defdots(:dot_one, 1)
  defdots(:dot_four, 4)

  @doc "The sum of `factors` times `vectors`, of which there is at least one."
  @spec combine([float, ...], [t, ...]) :: t
  def combine([a, b, c, d], [w, x, y, z]), do: sum_four(w, x, y, z, a, b, c, d)
  def combine([a, b, c], [x, y, z]), do: sum_three(x, y, z, a, b, c)
  def combine([a, b], [x, y]), do: sum_two(x, y, a, b)
  def combine([a], [x]), do: scale(x, a)

  def combine([a, b, c, d | factors], [w, x, y, z | vectors]) do
    factors |> combine(vectors) |> add_four(w, x, y, z, a, b, c, d)
  end

  @doc """
  As `combine/2`, of as many factors as vectors, without those that are exactly zero: their product is zero.

  A sum of nothing still needs a length: one term, although its factor is zero.
  """
  @spec combine_active([float], [t, ...]) :: t
  def combine_active(factors, vectors) do
    case active(factors, vectors, [], []) do
      {[], []} -> scale(hd(vectors), 0.0)
      {factors, vectors} -> combine(factors, vectors)
    end
  end

  defp active([factor | factors], [vector | vectors], kept, kept_vectors) when factor != 0.0 do
    active(factors, vectors, [factor | kept], [vector | kept_vectors])
  end

  defp active([_ | factors], [_ | vectors], kept, kept_vectors), do: active(factors, vectors, kept, kept_vectors)
  defp active([], [], kept, kept_vectors), do: {kept, kept_vectors}

  @doc "`x` times `a`."
  @spec scale(t, float) :: t
  defeach scale([x], a), do: a * x

  @doc false
  defeach sum_two([x, y], a, b), do: a * x + b * y

  @doc false
  defeach sum_three([x, y, z], a, b, c), do: a * x + b * y + c * z

  @doc false
  defeach sum_four([w, x, y, z], a, b, c, d), do: a * w + b * x + c * y + d * z

  @doc false
  defeach add_four([sum, w, x, y, z], a, b, c, d), do: sum + a * w + b * x + c * y + d * z

  @doc "The running mean of squares: `decay * v + rest * g²`."
  @spec mean_square(t, t, float, float) :: t
  defeach mean_square([v, g], decay, rest), do: decay * v + rest * (g * g)

  @doc "The square root of each element."
  @spec root(t) :: t
  defeach root([v]), do: :math.sqrt(v)

  @doc "The step of Adam: `w - rate * m / (s + epsilon)`, where `s` is the root of the mean square."
  @spec adam_step(t, t, t, float, float) :: t
  defeach adam_step([w, m, s], rate, epsilon), do: w - rate * m / (s + epsilon)
end
