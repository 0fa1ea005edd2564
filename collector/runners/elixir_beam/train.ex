defmodule ElixirBeam.Train do
  @moduledoc """
  Trains, evaluates, and writes the events of both. Modes `train` and `steps`.
  """

  alias Deadheat.{Events, Trial}
  alias ElixirBeam.{Data, Model, Optimizer, Runtime, Setup}

  @typedoc "What a step changes."
  @type state :: %{parameters: Model.parameters(), optimizer: Optimizer.t(), dropout: Model.dropout()}

  @typedoc "One evaluation interval: its end in epochs, and its batches cut into chunks."
  @type pair :: {float, [[[non_neg_integer]]]}

  @doc "Runs the trial to its end: `run_stop`, or `diverged`."
  @spec run(Setup.t(), Events.t()) :: :ok
  def run(setup, events) do
    state = initial_state(setup, Trial.float!(setup.trial, "model.dropout_rate"))
    warm_up(setup, state)
    Events.write(events, :compile_stop)

    setup.trial
    |> pairs(setup.order)
    |> Enum.reduce_while(state, &run_pair(&1, &2, setup, events))
    |> finish(events)
  end

  @doc "Initial weights, a fresh optimizer, and a generator of dropout masks from the trial's seed."
  @spec initial_state(Setup.t(), float) :: state
  def initial_state(%Setup{trial: trial, parameters: parameters}, dropout_rate) do
    %{
      parameters: parameters,
      optimizer: Optimizer.new(trial, parameters),
      dropout: Model.dropout(dropout_rate, Trial.integer!(trial, "seed"))
    }
  end

  @doc "One training step, and the sum of its losses."
  @spec step(state, Data.batch()) :: {state, float}
  def step(state, batch) do
    {gradient, loss, dropout} = Model.gradient(state.parameters, batch, state.dropout)
    {parameters, optimizer} = Optimizer.update(state.optimizer, state.parameters, gradient)
    {%{state | parameters: parameters, optimizer: optimizer, dropout: dropout}, loss}
  end

  @doc "Logits and labels of the test set, in batches of `eval_batch_size`."
  @spec evaluate(Setup.t(), Model.parameters()) :: Enumerable.t()
  def evaluate(%Setup{trial: trial, test: test, palette: palette}, parameters) do
    0..(test.count - 1)
    |> Stream.chunk_every(Trial.integer!(trial, "eval_batch_size"))
    |> Stream.map(&Data.batch(test, palette, &1))
    |> Stream.flat_map(fn {images, labels} -> Enum.zip(Model.logits(parameters, images), labels) end)
  end

  @doc "Examples, correct predictions and mean loss of what `evaluate/2` gives."
  @spec score(Enumerable.t()) :: %{examples: pos_integer, correct: non_neg_integer, loss: float}
  def score(predictions) do
    {examples, correct, loss} =
      Enum.reduce(predictions, {0, 0, 0.0}, fn {logits, label}, {examples, correct, loss} ->
        hit = if predicted(logits) == label, do: 1, else: 0
        {examples + 1, correct + hit, loss + Model.cross_entropy(logits, label)}
      end)

    %{examples: examples, correct: correct, loss: loss / examples}
  end

  @doc "The evaluation intervals of a trial."
  @spec pairs(Trial.t(), [[[non_neg_integer]]]) :: [pair]
  def pairs(trial, order) do
    # Mode steps has no evaluations: its one epoch is one interval.
    intervals = max(1, Trial.integer!(trial, "evaluations_per_epoch"))
    chunks = div(Trial.integer!(trial, "chunks_per_epoch"), intervals)

    for {batches, epoch} <- Enum.with_index(order), {part, k} <- Enum.with_index(cut(batches, intervals), 1) do
      {epoch + k / intervals, part |> cut(chunks) |> Enum.reject(&(&1 == []))}
    end
  end

  @doc """
  Cuts a list into parts that differ by one element at most.

      iex> ElixirBeam.Train.cut([1, 2, 3, 4, 5], 2)
      [[1, 2], [3, 4, 5]]
  """
  @spec cut([term], pos_integer) :: [[term]]
  def cut(list, parts) do
    n = length(list)
    edges = Enum.map(0..parts, &div(n * &1, parts))
    Enum.zip_with(edges, tl(edges), fn from, to -> Enum.slice(list, from, to - from) end)
  end

  # One step for each batch size and one evaluation step, all forgotten: it sizes the heap.
  defp warm_up(%Setup{trial: trial, train: train, test: test, palette: palette} = setup, state) do
    setup.order
    |> Enum.concat()
    |> Enum.uniq_by(&length/1)
    |> Enum.each(&step(state, Data.batch(train, palette, &1)))

    if Trial.text!(trial, "mode") == "train" do
      size = min(Trial.integer!(trial, "eval_batch_size"), test.count)
      {images, _} = Data.batch(test, palette, Enum.to_list(0..(size - 1)))
      Model.logits(state.parameters, images)
    end
  end

  defp run_pair({epoch, chunks}, state, setup, events) do
    {:cont, state |> train_pair({epoch, chunks}, setup, events) |> evaluate_pair(epoch, setup, events)}
  rescue
    # The BEAM has neither NaN nor infinity: arithmetic that would give one raises.
    ArithmeticError ->
      Events.write(events, :diverged, epoch: epoch, message: "float arithmetic left the finite numbers")
      {:halt, :diverged}
  end

  defp train_pair(state, {epoch, chunks}, setup, events) do
    Events.write(events, :epoch_start, epoch: epoch)
    counts = %{steps: 0, examples: 0, loss: 0.0}
    {state, counts} = Enum.reduce(chunks, {state, counts}, &train_chunk(&1, &2, setup, events))
    mean_loss = counts.loss / counts.examples
    Events.write(events, :epoch_stop, epoch: epoch, examples: counts.examples, train_loss: mean_loss, data_wait_s: 0.0)
    state
  end

  defp train_chunk(batches, {state, counts}, setup, events) do
    {state, counts} = Enum.reduce(batches, {state, counts}, &train_batch(&1, &2, setup, events))
    Events.write(events, :chunk_stop, steps: counts.steps)
    {state, counts}
  end

  defp train_batch(indices, {state, counts}, setup, events) do
    first? = state.optimizer.steps == 0
    {state, loss} = step(state, Data.batch(setup.train, setup.palette, indices))
    if first?, do: Events.write(events, :first_step_stop)
    examples = counts.examples + length(indices)
    {state, %{steps: counts.steps + 1, examples: examples, loss: counts.loss + loss}}
  end

  defp evaluate_pair(state, epoch, setup, events) do
    if Trial.integer!(setup.trial, "evaluations_per_epoch") > 0 do
      Events.write(events, :eval_start, epoch: epoch)
      %{examples: examples, correct: correct, loss: loss} = setup |> evaluate(state.parameters) |> score()
      Events.write(events, :eval_stop, epoch: epoch, examples: examples, correct: correct, loss: loss)
    end

    state
  end

  defp finish(:diverged, _), do: :ok
  defp finish(_state, events), do: Events.write(events, :run_stop, Runtime.facts())

  defp predicted(logits) do
    largest = Enum.max(logits)
    Enum.find_index(logits, &(&1 == largest))
  end
end
