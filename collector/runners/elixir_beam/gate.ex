defmodule ElixirBeam.Gate do
  @moduledoc """
  The proof of equal work: the functions that train, on given weights and batches, with the results as files.
  """

  alias Deadheat.{Events, Npy, Trial}
  alias ElixirBeam.{Data, Model, Optimizer, Runtime, Setup, Train}

  # Examples of one call in part G.
  @dropout_batch 256

  @doc "Writes all parts into the trial's output folder, then `run_stop`."
  @spec run(Setup.t(), Events.t()) :: :ok
  def run(setup, events) do
    output = Trial.text!(setup.trial, "output")
    state = Train.initial_state(setup, Trial.float!(setup.trial, "gate.dropout_rate"))
    batches = setup.order |> Enum.concat() |> Stream.map(&Data.batch(setup.train, setup.palette, &1))

    frozen_losses(state, batches, output)
    first_gradient(state, Enum.at(batches, 0), output)
    given_updates(state, Model.read!(Trial.text!(setup.trial, "gate.gradients")), output)
    two_steps(state, Enum.take(batches, 2), output)
    dropout(setup, state.parameters, output)
    evaluation(setup, Model.new(Model.read!(Trial.text!(setup.trial, "gate.checkpoint"))), output)
    Events.write(events, :run_stop, Runtime.facts())
  end

  # Part A.
  defp frozen_losses(state, batches, output) do
    results =
      Enum.map(batches, fn {_, labels} = batch ->
        {loss, logits, _} = Model.loss(state.parameters, batch, state.dropout)
        {loss / length(labels), logits}
      end)

    {losses, [first | _]} = Enum.unzip(results)
    write!(losses, output, "a.losses")
    write_rows!(first, output, "a.logits")
  end

  # Part B.
  defp first_gradient(state, batch, output) do
    {gradient, _, _} = Model.gradient(state.parameters, batch, state.dropout)
    Model.write!(gradient, output, "b.gradient.")
  end

  # Part C: each file holds all given gradients of one parameter.
  defp given_updates(state, arrays, output) do
    gradients =
      arrays
      |> Enum.map(fn {name, array} -> array |> Npy.split() |> Enum.map(&{name, &1}) end)
      |> Enum.zip_with(&Model.new(Map.new(&1)))

    {parameters, _} =
      Enum.reduce(gradients, {state.parameters, state.optimizer}, fn gradient, {parameters, optimizer} ->
        Optimizer.update(optimizer, parameters, gradient)
      end)

    Model.write!(parameters, output, "c.weights.")
  end

  # Part D.
  defp two_steps(state, batches, output) do
    Enum.reduce(Enum.with_index(batches, 1), state, fn {batch, number}, state ->
      {state, _} = Train.step(state, batch)
      Model.write!(state.parameters, output, "d.weights#{number}.")
      state
    end)
  end

  # Part F.
  defp evaluation(setup, checkpoint, output) do
    predictions = setup |> Train.evaluate(checkpoint) |> Enum.to_list()
    score = Train.score(predictions)
    write_rows!(Enum.map(predictions, fn {logits, _} -> logits end), output, "f.logits")
    write!([score.correct], output, "f.correct")
    write!([score.loss], output, "f.loss")
  end

  # Part G: the same example again and again, each time with masks of its own.
  defp dropout(setup, parameters, output) do
    [[[first | _] | _] | _] = setup.order
    batch = Data.batch(setup.train, setup.palette, List.duplicate(first, @dropout_batch))
    rate = Trial.float!(setup.trial, "model.dropout_rate")
    generator = Model.dropout(rate, Trial.integer!(setup.trial, "seed"))
    calls = div(Trial.integer!(setup.trial, "gate.dropout_repeats"), @dropout_batch)

    {parts, _} =
      Enum.map_reduce(1..calls//1, generator, fn _, generator ->
        {_, logits, generator} = Model.loss(parameters, batch, generator)
        {logits, generator}
      end)

    if rate > 0, do: parts |> Enum.concat() |> write_rows!(output, "g.logits")
  end

  defp write_rows!([row | _] = rows, output, name),
    do: write!(Enum.concat(rows), [length(rows), length(row)], output, name)

  defp write!(values, output, name), do: write!(values, [length(values)], output, name)

  defp write!(values, shape, output, name) do
    values |> Npy.from_floats(shape) |> Npy.write!(Path.join(output, name <> ".npy"))
  end
end
