defmodule ElixirAxon.Gate do
  @moduledoc """
  The proof of equal work: the functions that train, on given weights and batches, with the results as files
  (contract §4).
  """

  alias Deadheat.{Npy, Schedule, Trial}
  alias ElixirAxon.{Data, Layout, Trainer}

  # Examples of one call in part G.
  @dropout_batch 256

  @typedoc "Makes a trainer of a trial with a dropout rate."
  @type build :: (Trial.t(), float -> Trainer.t())

  @doc "Writes the parts that are asked for and that the model has into the trial's output folder."
  @spec run(Trial.t(), Trainer.t(), build, Npy.t(), Layout.weights()) :: :ok
  def run(trial, trainer, build, order, weights) do
    output = Trial.text!(trial, "output")
    batches = batches(trial, order)
    parts = trial |> Trial.text!("gate.parts") |> String.graphemes()
    sizes = Enum.map(batches, &Nx.size/1)
    trainer = Trainer.compile(trainer, sizes)

    if "A" in parts, do: frozen_losses(trainer, batches, output)
    if "B" in parts, do: trainer |> Trainer.gradient(trainer.initial, hd(batches)) |> write_all!(output, "b.gradient.")
    if "C" in parts, do: given_updates(trainer, read_all(Trial.text!(trial, "gate.gradients")), output)
    if "D" in parts, do: two_steps(trainer, batches, output)

    if "F" in parts or "G" in parts do
      evaluated = build.(trial, Trial.float!(trial, "model.dropout_rate"))
      evaluation(evaluated, read_all(Trial.text!(trial, "gate.checkpoint")), output)
      dropout(evaluated, order, output)
    end

    if "E" in parts and Enum.any?(Map.keys(weights), &String.ends_with?(&1, "running_mean")) do
      frozen = build.(%{trial | "optimizer.learning_rate" => 0.0}, Trial.float!(trial, "gate.dropout_rate"))
      statistics(Trainer.compile(frozen, sizes), batches, output)
    end

    if Trial.integer!(trial, "gate.traced_steps") > 0, do: trace(trainer, batches, output)
    :ok
  end

  defp batches(trial, %Npy{shape: [epochs, examples]} = order) do
    slices = Schedule.batches(examples, Trial.integer!(trial, "batch_size"))
    Enum.flat_map(0..(epochs - 1), &Data.indices(order, &1, slices))
  end

  # Part A.
  defp frozen_losses(trainer, batches, output) do
    results = Enum.map(batches, &Trainer.forward(trainer, trainer.initial, &1))
    results |> Enum.map(fn {_, loss, _} -> loss end) |> Nx.tensor(type: :f64) |> Layout.write!(output, "a.losses")
    {logits, _, _} = hd(results)
    Layout.write!(logits, output, "a.logits")
  end

  # Part C: each file holds all given gradients of one parameter.
  defp given_updates(trainer, gradients, output) do
    count = gradients |> Map.values() |> hd() |> Nx.axis_size(0)

    0..(count - 1)
    |> Enum.reduce(trainer.initial, fn number, state ->
      Trainer.update(trainer, state, Map.new(gradients, fn {name, all} -> {name, all[number]} end))
    end)
    |> then(&Trainer.weights(trainer, &1))
    |> write_all!(output, "c.weights.")
  end

  # Part D.
  defp two_steps(trainer, [first, second | _], output) do
    for {batches, number} <- [{[first], 1}, {[first, second], 2}] do
      state = steps(trainer, trainer.initial, batches)
      trainer |> Trainer.weights(state) |> write_all!(output, "d.weights#{number}.")
    end
  end

  # Part E.
  defp statistics(trainer, batches, output) do
    state = steps(trainer, trainer.initial, Enum.take(batches, Trial.integer!(trainer.trial, "gate.frozen_steps")))
    trainer |> Trainer.statistics(state) |> write_all!(output, "e.")
  end

  # Part F.
  defp evaluation(trainer, checkpoint, output) do
    state = Trainer.start(trainer, checkpoint)
    trainer |> Trainer.logits(state) |> Layout.write!(output, "f.logits")
    {_, correct, loss} = Trainer.evaluate(trainer, state)
    Layout.write!(Nx.tensor([correct], type: :s32), output, "f.correct")
    Layout.write!(Nx.tensor([loss], type: :f64), output, "f.loss")
  end

  # Part G: the same example again and again, each time with masks of its own.
  defp dropout(trainer, %Npy{data: <<first::little-signed-32, _::binary>>}, output) do
    if Trial.float!(trainer.trial, "model.dropout_rate") > 0 do
      batch = Nx.broadcast(Nx.tensor(first, type: :s32), {@dropout_batch})
      calls = div(Trial.integer!(trainer.trial, "gate.dropout_repeats"), @dropout_batch)

      {logits, _} =
        Enum.map_reduce(1..calls, trainer.initial, fn _, state ->
          {logits, _, state} = Trainer.forward(trainer, state, batch)
          {logits, state}
        end)

      logits |> Nx.concatenate() |> Layout.write!(output, "g.logits")
    end
  end

  # Part T.
  defp trace(trainer, batches, output) do
    {losses, _} =
      batches
      |> Enum.take(Trial.integer!(trainer.trial, "gate.traced_steps"))
      |> Enum.map_reduce(trainer.initial, fn batch, state ->
        {loss_sum, state} = trainer |> steps(state, [batch]) |> Trainer.take_loss_sum()
        {loss_sum / Nx.size(batch), state}
      end)

    losses |> Nx.tensor(type: :f64) |> Layout.write!(output, "t.losses")
  end

  defp steps(trainer, state, batches),
    do: Trainer.run_steps(trainer, state, batches, [length(batches)], fn _ -> :ok end)

  defp read_all(folder), do: folder |> Layout.read!() |> Map.new(fn {name, array} -> {name, Layout.tensor(array)} end)

  defp write_all!(weights, output, prefix),
    do: for({name, tensor} <- weights, do: Layout.write!(tensor, output, prefix <> name))
end
