defmodule Deadheat.IdxTest do
  use ExUnit.Case, async: true

  alias Deadheat.Idx

  @moduletag :tmp_dir

  test "images are read with their shape and all pixels in order", %{tmp_dir: folder} do
    path = Path.join(folder, "images")
    File.write!(path, <<0, 0, 8, 3, 2::32, 2::32, 3::32>> <> :binary.list_to_bin(Enum.to_list(1..12)))

    assert {:u8, [2, 2, 3], pixels} = Idx.read!(path, [:u8], [3])
    assert :binary.bin_to_list(pixels) == Enum.to_list(1..12)
  end

  test "a truncated file is refused with its name", %{tmp_dir: folder} do
    path = Path.join(folder, "short")
    File.write!(path, <<0, 0, 8, 3, 2::32, 2::32, 3::32, 1, 2, 3>>)

    assert_raise ArgumentError, ~r/short: got 19 bytes that are no IDX file/, fn -> Idx.read!(path, [:u8], [3]) end
  end

  test "images in place of labels, and int32 in place of images, are refused with their name", %{tmp_dir: folder} do
    path = Path.join(folder, "swapped")
    File.write!(path, <<0, 0, 8, 3, 1::32, 1::32, 1::32, 1>>)

    assert_raise ArgumentError,
                 ~r/swapped: got unsigned bytes in 3 dimensions; expected unsigned bytes or int32 in 1. Fetch/,
                 fn -> Idx.read!(path, [:u8, :s32], [1]) end

    File.write!(path, <<0, 0, 0x0C, 3, 1::32, 1::32, 1::32, 1::32>>)

    assert_raise ArgumentError, ~r/swapped: got int32 in 3 dimensions; expected unsigned bytes in 3 or 4. Fetch/, fn ->
      Idx.read!(path, [:u8], [3, 4])
    end
  end
end
