defmodule ElixirAxon.Train do
  @moduledoc """
  Modes `train`, `steps` and `infer`: where the clock starts, stops and is looked at (contract §2 and §3).
  """

  alias Deadheat.{Events, Npy, Schedule, Trial}
  alias ElixirAxon.{Backend, Data, Optimizer, Trainer}

  @doc "Runs the trial to its end; says whether its losses stayed finite."
  @spec run(Trainer.t(), Npy.t(), Events.t()) :: :finished | :diverged
  def run(trainer, order, events) do
    trainer = warm_up(trainer, order)
    Events.write(events, :compile_stop)

    if Trial.text!(trainer.trial, "mode") == "infer",
      do: infer(trainer, order, events),
      else: train(trainer, order, events)
  end

  # One step for each batch size and, in mode train, one evaluation, all forgotten.
  defp warm_up(trainer, %Npy{shape: [_, examples]} = order) do
    batches = examples |> Schedule.batches(Trial.integer!(trainer.trial, "batch_size")) |> Enum.uniq_by(&elem(&1, 1))
    trainer = Trainer.compile(trainer, Enum.map(batches, &elem(&1, 1)))

    for batch <- Data.indices(order, 0, batches) do
      case Trial.text!(trainer.trial, "mode") do
        "infer" -> trainer |> Trainer.infer(trainer.initial, batch) |> synchronise()
        _ -> Trainer.run_steps(trainer, trainer.initial, [batch], [1], fn _ -> :ok end)
      end
    end

    if Trial.text!(trainer.trial, "mode") == "train", do: Trainer.evaluate(trainer, trainer.initial)
    trainer
  end

  defp train(trainer, %Npy{shape: [epochs, examples]} = order, events) do
    trainer.trial
    |> Schedule.pairs(epochs, examples)
    |> Enum.with_index()
    |> Enum.reduce_while(trainer.initial, fn {pair, number}, state ->
      state = paced(trainer.trial, state, pair.row)

      with {:ok, state} <- train_pair(trainer, state, pair, order, events, number == 0),
           :ok <- evaluate_pair(trainer, state, pair, events) do
        {:cont, state}
      else
        :diverged -> {:halt, :diverged}
      end
    end)
    |> then(&if(&1 == :diverged, do: :diverged, else: :finished))
  end

  defp paced(trial, state, row) do
    case Trial.text!(trial, "optimizer.schedule") do
      "constant" ->
        state

      _ ->
        rate = Schedule.learning_rate(trial, row)
        %{state | optimizer_state: Optimizer.put_learning_rate(state.optimizer_state, rate)}
    end
  end

  defp train_pair(trainer, state, %{epoch: epoch} = pair, order, events, first?) do
    batches = Data.indices(order, pair.row, pair.batches)
    stops = if first?, do: Enum.uniq([1 | pair.stops]), else: pair.stops
    Events.write(events, :epoch_start, epoch: epoch)
    state = Trainer.run_steps(trainer, state, batches, stops, &mark(&1, pair, events, first?))
    {loss_sum, state} = Trainer.take_loss_sum(state)
    examples = pair.batches |> Enum.map(&elem(&1, 1)) |> Enum.sum()

    if is_number(loss_sum) do
      fields = [epoch: epoch, examples: examples, train_loss: loss_sum / examples, data_wait_s: 0.0]
      Events.write(events, :epoch_stop, fields)
      {:ok, state}
    else
      diverge(events, epoch, "training", loss_sum)
    end
  end

  defp mark(done, pair, events, first?) do
    if first? and done == 1, do: Events.write(events, :first_step_stop)
    if done in pair.stops, do: Events.write(events, :chunk_stop, steps: done)
  end

  defp evaluate_pair(trainer, state, %{epoch: epoch}, events) do
    if Trial.integer!(trainer.trial, "evaluations_per_epoch") > 0 do
      Events.write(events, :eval_start, epoch: epoch)
      {examples, correct, loss} = Trainer.evaluate(trainer, state)

      if is_number(loss),
        do: Events.write(events, :eval_stop, epoch: epoch, examples: examples, correct: correct, loss: loss),
        else: diverge(events, epoch, "test", loss)
    else
      :ok
    end
  end

  # The same batches twice: once synchronised after each for its latency, once for the throughput.
  defp infer(trainer, %Npy{shape: [_, examples]} = order, events) do
    batches = Data.indices(order, 0, Schedule.batches(examples, Trial.integer!(trainer.trial, "batch_size")))
    last = length(batches)

    for {epoch, stops} <- [{1.0, Enum.to_list(1..last)}, {2.0, [last]}] do
      Events.write(events, :epoch_start, epoch: epoch)
      for {batch, done} <- Enum.with_index(batches, 1), do: infer_batch(trainer, batch, epoch, done, stops, events)
      Events.write(events, :epoch_stop, epoch: epoch, examples: examples, data_wait_s: 0.0)
    end

    :finished
  end

  defp infer_batch(trainer, batch, epoch, done, stops, events) do
    classes = Trainer.infer(trainer, trainer.initial, batch)
    Backend.compute(classes)

    if done in stops do
      synchronise(classes)
      if epoch == 1.0 and done == 1, do: Events.write(events, :first_step_stop)
      Events.write(events, :chunk_stop, steps: done)
    end
  end

  defp synchronise(classes), do: Backend.synchronise(classes[0])

  defp diverge(events, epoch, which, loss) do
    Events.write(events, :diverged, epoch: epoch, message: "the #{which} loss is #{loss}; expected a finite number")
    :diverged
  end
end
