defmodule Deadheat.NpyTest do
  use ExUnit.Case, async: true

  alias Deadheat.Npy

  @moduletag :tmp_dir

  # As numpy.save writes np.array([[1.5, -2.0]], dtype="<f4").
  @header "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
  @numpy <<0x93, "NUMPY", 1, 0, 118::little-16>> <>
           String.pad_trailing(@header, 117) <> "\n" <> <<1.5::little-float-32, -2.0::little-float-32>>

  defp numpy(descr, shape, data) do
    header = "{'descr': '#{descr}', 'fortran_order': False, 'shape': #{shape}, }\n"
    <<0x93, "NUMPY", 1, 0, byte_size(header)::little-16, header::binary, data::binary>>
  end

  test "float32 as numpy writes it" do
    array = Npy.decode(@numpy)

    assert array.shape == [1, 2]
    assert Npy.to_list(array) == [1.5, -2.0]
  end

  test "int32 of two rows" do
    data = for i <- [3, -1, 0, 59_999], into: <<>>, do: <<i::little-signed-32>>
    array = Npy.decode(numpy("<i4", "(2, 2)", data))

    assert array.type == :i4
    assert Npy.to_list(array) == [3, -1, 0, 59_999]
  end

  test "what is written is read again", %{tmp_dir: folder} do
    for shape <- [[6], [2, 3], [1, 2, 3]] do
      path = Path.join(folder, "array.npy")
      values = Enum.map(1..6, &(&1 / 7))
      values |> Npy.from_floats(shape) |> Npy.write!(path)
      array = Npy.read!(path)

      assert array.shape == shape
      assert Npy.to_list(array) == values
    end
  end

  test "data starts at a multiple of 64, as the format asks" do
    for n <- 1..200 do
      <<_::binary-size(8), size::little-16, _::binary>> = Npy.encode(Npy.from_floats(List.duplicate(0.0, n), [n]))

      assert rem(10 + size, 64) == 0
    end
  end

  test "splitting takes the first axis apart" do
    arrays = 1..6 |> Enum.map(&(&1 * 1.0)) |> Npy.from_floats([2, 3]) |> Npy.split()

    assert Enum.map(arrays, &{&1.shape, Npy.to_list(&1)}) == [{[3], [1.0, 2.0, 3.0]}, {[3], [4.0, 5.0, 6.0]}]
  end

  test "other types, Fortran order and missing data are refused with the file's name" do
    fortran = String.replace(@numpy, "False", "True ")
    short = binary_part(@numpy, 0, byte_size(@numpy) - 1)

    for bad <- [numpy("<i8", "(1,)", <<0::64>>), fortran, short, "no array"] do
      assert_raise ArgumentError, ~r/^order.npy: got .*expected .npy 1.0/s, fn -> Npy.decode(bad, "order.npy") end
    end
  end

  test "NaN is refused with the file's name, because no BEAM float can hold it" do
    array = Npy.decode(numpy("<f4", "(2,)", <<1.0::little-float-32, 0x7FC00000::little-32>>), "hidden.bias.npy")

    assert_raise ArgumentError, ~r/^hidden.bias.npy: got a value that is not finite/, fn -> Npy.to_list(array) end
  end
end
