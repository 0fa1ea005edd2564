defmodule ElixirBeam.Gate do
  @moduledoc """
  The proof of equal work: the functions that train, on given weights and batches, with the results as files.
  """

  alias Deadheat.{Events, Npy, Trial}
  alias ElixirBeam.{Model, Runtime, Setup, Train}

  # Examples of one call in part G.
  @dropout_batch 256

  @doc "Writes all parts into the trial's output folder, then `run_stop`."
  @spec run(Setup.t(), Events.t()) :: :ok
  def run(setup, events) do
    output = Trial.text!(setup.trial, "output")
    [first, second | _] = batches = Enum.concat(setup.order)

    with_state(setup, &frozen_losses(&1, setup, batches, output))
    with_state(setup, fn state -> state |> Train.gradient(setup, first) |> Model.write!(output, "b.gradient.") end)
    with_state(setup, &given_updates(&1, Model.read!(Trial.text!(setup.trial, "gate.gradients")), output))
    with_state(setup, &two_steps(&1, setup, [first, second], output))
    dropout(setup, hd(first), output)
    evaluation(%{setup | parameters: Model.new(Model.read!(Trial.text!(setup.trial, "gate.checkpoint")))}, output)
    Events.write(events, :run_stop, Runtime.facts())
  end

  # Each part starts from the gate weights and fresh optimizers.
  defp with_state(setup, part) do
    state = Train.initial_state(setup, Trial.float!(setup.trial, "gate.dropout_rate"))
    part.(state)
    Train.stop(state)
  end

  # Part A.
  defp frozen_losses(state, setup, batches, output) do
    results =
      Enum.map(batches, fn indices ->
        {loss, logits, _} = Train.loss(state, setup, indices)
        {loss / length(indices), logits}
      end)

    {losses, [first | _]} = Enum.unzip(results)
    write!(losses, output, "a.losses")
    write_rows!(first, output, "a.logits")
  end

  # Part C: each file holds all given gradients of one parameter.
  defp given_updates(state, arrays, output) do
    arrays
    |> Enum.map(fn {name, array} -> array |> Npy.split() |> Enum.map(&{name, &1}) end)
    |> Enum.zip_with(&Model.new(Map.new(&1)))
    |> Enum.reduce(state, &Train.update(&2, &1))
    |> Train.parameters()
    |> Model.write!(output, "c.weights.")
  end

  # Part D.
  defp two_steps(state, setup, batches, output) do
    Enum.reduce(Enum.with_index(batches, 1), state, fn {indices, number}, state ->
      {state, _} = Train.step(state, setup, indices)
      state |> Train.parameters() |> Model.write!(output, "d.weights#{number}.")
      state
    end)
  end

  # Part F.
  defp evaluation(setup, output) do
    with_state(setup, fn state ->
      predictions = setup |> Train.evaluate(state) |> Enum.to_list()
      score = Train.score(predictions)
      write_rows!(Enum.map(predictions, fn {logits, _} -> logits end), output, "f.logits")
      write!([score.correct], output, "f.correct")
      write!([score.loss], output, "f.loss")
    end)
  end

  # Part G: the same example again and again, each time with masks of its own.
  defp dropout(setup, example, output) do
    rate = Trial.float!(setup.trial, "model.dropout_rate")
    calls = div(Trial.integer!(setup.trial, "gate.dropout_repeats"), @dropout_batch)
    state = Train.initial_state(setup, rate)

    {parts, _} =
      Enum.map_reduce(1..calls//1, state, fn _, state ->
        {_, logits, state} = Train.loss(state, setup, List.duplicate(example, @dropout_batch))
        {logits, state}
      end)

    if rate > 0, do: parts |> Enum.concat() |> write_rows!(output, "g.logits")
    Train.stop(state)
  end

  defp write_rows!([row | _] = rows, output, name),
    do: write!(Enum.concat(rows), [length(rows), length(row)], output, name)

  defp write!(values, output, name), do: write!(values, [length(values)], output, name)

  defp write!(values, shape, output, name) do
    values |> Npy.from_floats(shape) |> Npy.write!(Path.join(output, name <> ".npy"))
  end
end
