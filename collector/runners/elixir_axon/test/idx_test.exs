defmodule ElixirAxon.IdxTest do
  use ExUnit.Case, async: true

  alias Deadheat.Idx

  @moduletag :tmp_dir

  test "bytes keep their shape, of any number of dimensions", %{tmp_dir: folder} do
    path = Path.join(folder, "images")
    File.write!(path, <<0, 0, 8, 4, 1::32, 2::32, 2::32, 3::32, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>>)

    assert {:u8, [1, 2, 2, 3], <<1, 2, 3, _::binary>>} = Idx.read!(path)
  end

  test "int32 is turned from big- to little-endian", %{tmp_dir: folder} do
    path = Path.join(folder, "labels")
    File.write!(path, <<0, 0, 0x0C, 1, 2::32, 999::32, -1::32>>)

    assert Idx.read!(path) == {:s32, [2], <<999::little-32, -1::little-32>>}
  end

  test "fewer bytes than the header says are refused with the file's name", %{tmp_dir: folder} do
    path = Path.join(folder, "short")
    File.write!(path, <<0, 0, 8, 1, 3::32, 1, 2>>)

    assert_raise ArgumentError, ~r/short: got 10 bytes that are no IDX file/, fn -> Idx.read!(path) end
  end
end
