defmodule Deadheat.IdxTest do
  use ExUnit.Case, async: true

  alias Deadheat.Idx

  @moduletag :tmp_dir

  test "images are read as number, pixels of each and all pixels in order", %{tmp_dir: folder} do
    path = Path.join(folder, "images")
    File.write!(path, <<0, 0, 8, 3, 2::32, 2::32, 3::32>> <> :binary.list_to_bin(Enum.to_list(1..12)))

    assert {2, 6, pixels} = Idx.read_images!(path)
    assert :binary.bin_to_list(pixels) == Enum.to_list(1..12)
  end

  test "labels are one byte each", %{tmp_dir: folder} do
    path = Path.join(folder, "labels")
    File.write!(path, <<0, 0, 8, 1, 3::32, 7, 0, 9>>)

    assert Idx.read_labels!(path) == <<7, 0, 9>>
  end

  test "a truncated file is refused with its name", %{tmp_dir: folder} do
    path = Path.join(folder, "short")
    File.write!(path, <<0, 0, 8, 3, 2::32, 2::32, 3::32, 1, 2, 3>>)

    assert_raise ArgumentError, ~r/short: got 19 bytes .*expected an IDX file/, fn -> Idx.read_images!(path) end
  end

  test "images in place of labels are refused", %{tmp_dir: folder} do
    path = Path.join(folder, "swapped")
    File.write!(path, <<0, 0, 8, 3, 1::32, 1::32, 1::32, 1>>)

    assert_raise ArgumentError, ~r/expected an IDX file of unsigned bytes with one dimension/, fn ->
      Idx.read_labels!(path)
    end
  end
end
