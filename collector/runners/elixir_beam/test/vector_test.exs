defmodule ElixirBeam.VectorTest do
  use ExUnit.Case, async: true

  alias ElixirBeam.Vector

  # Around the width of a chunk, and an image of MNIST.
  @lengths [1, 15, 16, 17, 33, 784]

  setup do
    :rand.seed(:exsss, 7)
    :ok
  end

  defp floats(n), do: for(_ <- 1..n, do: :rand.normal())
  defp dot(x, y), do: Enum.zip_with(x, y, &(&1 * &2)) |> Enum.sum()

  defp assert_close(found, expected) do
    assert length(found) == length(expected)
    Enum.zip_with(found, expected, fn f, e -> assert_in_delta f, e, 1.0e-9 end)
  end

  test "a list comes back as it was" do
    for n <- @lengths do
      list = floats(n)

      assert list |> Vector.from_list() |> Vector.to_list(n) == list
    end
  end

  test "scalar products, for every number of vectors around a group of four" do
    for n <- @lengths, count <- 0..9 do
      {row, vectors} = {floats(n), for(_ <- 1..count//1, do: floats(n))}
      found = Vector.affine(Vector.from_list(row), 0.5, Enum.map(vectors, &Vector.from_list/1))

      assert_close(found, Enum.map(vectors, &(0.5 + dot(row, &1))))
    end
  end

  test "sums of scaled vectors, for every number of terms around a group of four" do
    for n <- @lengths, count <- 1..9 do
      {factors, vectors} = {floats(count), for(_ <- 1..count, do: floats(n))}
      found = factors |> Vector.combine(Enum.map(vectors, &Vector.from_list/1)) |> Vector.to_list(n)

      assert_close(found, Enum.zip_with(vectors, &dot(factors, &1)))
    end
  end

  test "bytes are looked up in a table, the last chunk filled with zeros" do
    table = List.to_tuple(Enum.map(0..255, &(&1 / 10)))

    for n <- @lengths do
      bytes = :rand.bytes(n)
      vector = Vector.lookup(bytes, table)

      assert Vector.to_list(vector, n) == Enum.map(:binary.bin_to_list(bytes), &(&1 / 10))
      assert vector |> Vector.to_list(2000) |> Enum.drop(n) |> Enum.all?(&(&1 == 0.0))
    end
  end

  test "the filling stays zero through every operation of an optimizer" do
    [w, m, v, g] = for x <- [1.0, 2.0, 4.0, 3.0], do: Vector.from_list([x])
    step = Vector.adam_step(w, m, Vector.root(v), 0.1, 1.0e-8)

    assert [first | rest] = Vector.to_list(step, 16)
    assert_in_delta first, 0.9, 1.0e-8
    assert Enum.all?(rest, &(&1 == 0.0))
    assert Vector.to_list(Vector.mean_square(v, g, 0.5, 0.25), 2) == [4.25, 0.0]
  end
end
