defmodule ElixirBeam.ModelTest do
  use ExUnit.Case, async: true

  alias ElixirBeam.{Model, Tensor, Vector}

  @inputs 20
  @hidden 9
  @classes 10
  @examples 7

  setup do
    :rand.seed(:exsss, 11)

    parameters = %{
      "hidden.weight" => matrix(@hidden, @inputs),
      "hidden.bias" => Tensor.new(floats(@hidden)),
      "output.weight" => matrix(@classes, @hidden),
      "output.bias" => Tensor.new(floats(@classes))
    }

    images = for _ <- 1..@examples, do: Vector.from_list(floats(@inputs))
    %{parameters: parameters, batch: {images, for(_ <- 1..@examples, do: :rand.uniform(@classes) - 1)}}
  end

  defp floats(n), do: for(_ <- 1..n, do: :rand.normal() / 2)
  defp matrix(rows, columns), do: Tensor.new(for _ <- 1..rows, do: floats(columns))

  defp loss(parameters, {images, labels}, dropout),
    do: Model.loss(parameters, Model.outputs(parameters, images), labels, dropout)

  defp gradient(parameters, {images, labels}, dropout) do
    {above, pulls, _, _} = Model.gradient_above(parameters, Model.outputs(parameters, images), labels, dropout)
    Map.merge(above, Model.gradient_below(parameters, pulls, images))
  end

  defp mean_loss(parameters, batch, dropout) do
    {loss, _, _} = loss(parameters, batch, dropout)
    loss / @examples
  end

  defp nudge(tensor, place, by) do
    values = List.update_at(Tensor.to_list(tensor), place, &(&1 + by))

    case tensor.shape do
      [_] -> Tensor.new(values)
      [_, columns] -> values |> Enum.chunk_every(columns) |> Tensor.new()
    end
  end

  for rate <- [0.0, 0.5] do
    test "every element of the gradient agrees with finite differences at dropout #{rate}", context do
      %{parameters: parameters, batch: batch} = context
      dropout = Model.dropout(unquote(rate), 3)
      gradient = gradient(parameters, batch, dropout)

      for {name, tensor} <- parameters, {found, place} <- Enum.with_index(Tensor.to_list(gradient[name])) do
        [above, below] =
          for by <- [1.0e-6, -1.0e-6] do
            mean_loss(Map.put(parameters, name, nudge(tensor, place, by)), batch, dropout)
          end

        assert_in_delta found, (above - below) / 2.0e-6, 1.0e-7, "#{name}[#{place}]"
      end
    end
  end

  test "the logits are those of the formula", %{parameters: parameters, batch: {images, _}} do
    [w1, b1, w2, b2] =
      for name <- ~w(hidden.weight hidden.bias output.weight output.bias), do: Tensor.to_list(parameters[name])

    affine = fn x, w, b ->
      Enum.zip_with(Enum.chunk_every(w, length(x)), b, fn row, b -> Enum.sum(Enum.zip_with(row, x, &(&1 * &2))) + b end)
    end

    for {image, found} <- Enum.zip(images, Model.logits(parameters, Model.outputs(parameters, images))) do
      hidden = image |> Vector.to_list(@inputs) |> affine.(w1, b1) |> Enum.map(&max(&1, 0.0))

      Enum.zip_with(found, affine.(hidden, w2, b2), fn f, e -> assert_in_delta f, e, 1.0e-12 end)
    end
  end

  test "the loss of equal logits is the logarithm of their number, and large logits do not overflow" do
    assert_in_delta Model.cross_entropy(List.duplicate(3.0, 10), 4), :math.log(10), 1.0e-12
    assert Model.cross_entropy([5000.0, 0.0], 1) == 5000.0
  end

  test "a unit that no example activates has a gradient of zeros", %{parameters: parameters, batch: batch} do
    silent = %{parameters | "hidden.bias" => Tensor.new(List.duplicate(-1.0e3, @hidden))}
    gradient = gradient(silent, batch, Model.dropout(0.0, 1))

    assert Tensor.to_list(gradient["hidden.weight"]) == List.duplicate(0.0, @hidden * @inputs)
  end

  test "a seed decides the dropout masks, and the generator moves on", %{parameters: parameters, batch: batch} do
    {loss, _, next} = loss(parameters, batch, Model.dropout(0.5, 1))
    {again, _, _} = loss(parameters, batch, Model.dropout(0.5, 1))
    {other, _, _} = loss(parameters, batch, Model.dropout(0.5, 2))
    {later, _, _} = loss(parameters, batch, next)

    assert loss == again
    assert loss != other
    assert loss != later
  end

  test "dropout drops its share and keeps the mean" do
    # Hidden units all give 1.0, and each logit is one unit: the logits show what survived.
    identity = Tensor.new(for i <- 1..@classes, do: for(j <- 1..@classes, do: if(i == j, do: 1.0, else: 0.0)))

    parameters = %{
      "hidden.weight" => matrix(@classes, @inputs) |> Tensor.zeros_like(),
      "hidden.bias" => Tensor.new(List.duplicate(1.0, @classes)),
      "output.weight" => identity,
      "output.bias" => Tensor.new(List.duplicate(0.0, @classes))
    }

    images = List.duplicate(Vector.from_list(floats(@inputs)), 2000)
    {_, logits, _} = loss(parameters, {images, List.duplicate(0, 2000)}, Model.dropout(0.2, 5))
    survivors = logits |> Enum.concat() |> Enum.reject(&(&1 == 0.0))

    assert Enum.all?(survivors, &(&1 == 1.25))
    # Standard deviation of the share: sqrt(0.2 * 0.8 / 20,000) = 0.0028.
    assert_in_delta length(survivors) / 20_000, 0.8, 0.012
  end

  test "parameters are counted", %{parameters: parameters} do
    assert Model.count(parameters) == @hidden * @inputs + @hidden + @classes * @hidden + @classes
  end
end
