defmodule Deadheat.Cifar10Test do
  use ExUnit.Case, async: true

  alias Deadheat.Cifar10

  @moduletag :tmp_dir

  test "batches are read in order, labels apart from pixels", %{tmp_dir: folder} do
    [first, second] = for name <- ["one", "two"], do: Path.join(folder, name)
    File.write!(first, [3, :binary.copy(<<10>>, 3072), 7, :binary.copy(<<20>>, 3072)])
    File.write!(second, [9, :binary.copy(<<30>>, 3072)])

    assert {3, pixels, <<3, 7, 9>>} = Cifar10.read!([first, second])
    assert byte_size(pixels) == 3 * 3072
    assert for(i <- 0..2, do: :binary.at(pixels, i * 3072)) == [10, 20, 30]
  end

  test "a truncated batch is refused with its name", %{tmp_dir: folder} do
    path = Path.join(folder, "short")
    File.write!(path, :binary.copy(<<0>>, 3072))

    assert_raise ArgumentError, ~r/short: got 3072 bytes; expected a multiple of 3073/, fn -> Cifar10.read!([path]) end
  end
end
