defmodule ElixirBeam.Unroll do
  @moduledoc """
  Writes arithmetic on vectors as functions whose clauses handle a whole chunk of floats.

  The BEAM boxes every float that leaves a function: 16 bytes on the heap, and a pointer to follow when it is read.
  Inside one clause its JIT keeps floats unboxed, where a guard tells it that they are floats.
  So each clause takes a chunk off every vector, tests each element, and boxes only what it returns.
  A vector is a list of chunks, a chunk a tuple: an element costs one load there, and two loads and a test in a list.
  """

  @width 16

  @doc "Floats in a chunk."
  defmacro width, do: @width

  @doc """
  Defines a function that maps an expression over the elements of vectors.

      defeach axpy([x, y], a), do: a * x + y

  defines `axpy(x, y, a)`, where `x` and `y` are vectors of one length and `a` is a float.
  """
  defmacro defeach({name, _, [vectors | scalars]}, do: expression) do
    names = Enum.map(vectors, &elem(&1, 0))
    chunks = Enum.map(names, &variables(&1, @width))
    tails = variables(:tail, length(names))
    results = chunks |> transpose() |> Enum.map(&substitute(expression, names, &1))

    quote do
      def unquote(name)(unquote_splicing(heads(chunks, tails)), unquote_splicing(scalars))
          when unquote(floats([chunks, scalars])) do
        [unquote({:{}, [], results}) | unquote(name)(unquote_splicing(tails), unquote_splicing(scalars))]
      end

      def unquote(name)(unquote_splicing(nothing(names)), unquote_splicing(anything(scalars))), do: []
    end
  end

  @doc """
  Defines `name(row, x_1, …, x_n, sum_1, …, sum_n)`: the scalar products of one row with `n` vectors, added to the sums.

  The row is loaded and tested once for all vectors, and their sums do not wait for each other.
  """
  defmacro defdots(name, n) do
    row = variables(:row, @width)
    xs = for i <- 1..n, do: variables(:"x_#{i}", @width)
    [row_tail | tails] = variables(:tail, n + 1)
    sums = variables(:sum, n)

    quote do
      defp unquote(name)(unquote_splicing(heads([row | xs], [row_tail | tails])), unquote_splicing(sums))
           when unquote(floats([row, xs, sums])) do
        unquote(name)(
          unquote(row_tail),
          unquote_splicing(tails),
          unquote_splicing(Enum.zip_with(xs, sums, &dot(row, &1, &2)))
        )
      end

      defp unquote(name)(unquote_splicing(nothing([row | xs])), unquote_splicing(sums)) do
        {unquote_splicing(sums)}
      end
    end
  end

  @doc """
  Defines `name(bytes, table)`: the vector of the entries of a tuple that the bytes name, for whole chunks.
  """
  defmacro deflookup(name) do
    bytes = variables(:byte, @width)

    quote do
      def unquote(name)(<<unquote_splicing(bytes), rest::binary>>, table) do
        entries = {unquote_splicing(for byte <- bytes, do: quote(do: elem(table, unquote(byte))))}
        [entries | unquote(name)(rest, table)]
      end
    end
  end

  defp variables(name, n), do: for(i <- 1..n, do: Macro.var(:"#{name}_#{i}", __MODULE__))

  defp heads(chunks, tails),
    do: Enum.zip_with(chunks, tails, fn c, t -> quote(do: [{unquote_splicing(c)} | unquote(t)]) end)

  defp nothing(vectors), do: Enum.map(vectors, fn _ -> [] end)
  defp anything(scalars), do: Enum.map(scalars, fn _ -> quote(do: _) end)
  defp transpose(rows), do: Enum.zip_with(rows, & &1)

  defp floats(variables) do
    variables
    |> List.flatten()
    |> Enum.map(&quote(do: is_float(unquote(&1))))
    |> Enum.reduce(&quote(do: unquote(&2) and unquote(&1)))
  end

  defp dot(left, right, start) do
    left
    |> Enum.zip_with(right, &quote(do: unquote(&1) * unquote(&2)))
    |> Enum.reduce(start, &quote(do: unquote(&2) + unquote(&1)))
  end

  defp substitute(expression, names, elements) do
    replacements = Map.new(Enum.zip(names, elements))

    Macro.prewalk(expression, fn
      {name, _, context} = variable when is_atom(context) -> Map.get(replacements, name, variable)
      other -> other
    end)
  end
end
