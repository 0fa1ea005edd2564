defmodule ElixirBeam.Train do
  @moduledoc """
  Trains, evaluates, and writes the events of both. Modes `train` and `steps`.
  """

  alias Deadheat.{Events, Schedule, Trial}
  alias ElixirBeam.{Data, Model, Optimizer, Runtime, Setup, Share, Workers}

  @typedoc "What a step changes: the hidden layer, wherever it is; the output layer and its optimizer; dropout."
  @type state :: %{
          hidden: Share.t() | Workers.t(),
          output: Model.parameters(),
          optimizer: Optimizer.t(),
          dropout: Model.dropout()
        }

  @typedoc "One evaluation interval: its end in epochs, and its batches cut into chunks."
  @type pair :: {float, [[[non_neg_integer]]]}

  @doc "Runs the trial to its end: `run_stop`, `diverged`, or `unsupported`."
  @spec run(Setup.t(), Events.t()) :: :ok
  def run(%Setup{trial: trial, order: order} = setup, events) do
    case Schedule.uncut(trial, examples(order)) do
      nil -> train(setup, events)
      message -> Events.write(events, :unsupported, message: message)
    end
  end

  defp train(setup, events) do
    warm_up(setup)
    Events.write(events, :compile_stop)
    state = initial_state(setup, Trial.float!(setup.trial, "model.dropout_rate"))

    setup.trial
    |> pairs(setup.order)
    |> Enum.reduce_while(state, &run_pair(&1, &2, setup, events))
    |> finish(events)
  end

  @doc "Initial weights, fresh optimizers, and a generator of dropout masks from the trial's seed; workers are started."
  @spec initial_state(Setup.t(), float) :: state
  def initial_state(%Setup{trial: trial, parameters: parameters} = setup, dropout_rate) do
    share = Share.new(trial, %{train: setup.train, test: setup.test}, setup.palette, parameters)
    output = Map.drop(parameters, Model.hidden_names())

    %{
      hidden:
        if(trial["variant"] == "parallel", do: Workers.start(share, Trial.integer!(trial, "threads")), else: share),
      output: output,
      optimizer: Optimizer.new(trial, output),
      dropout: Model.dropout(dropout_rate, Trial.integer!(trial, "seed"))
    }
  end

  @doc "Ends what `initial_state/2` started."
  @spec stop(state) :: :ok
  def stop(%{hidden: %module{} = hidden}), do: module.stop(hidden)

  @doc "All weights and biases."
  @spec parameters(state) :: Model.parameters()
  def parameters(%{hidden: %module{} = hidden, output: output}), do: Map.merge(output, module.parameters(hidden))

  @doc "One training step on the examples that `indices` name, and the sum of its losses."
  @spec step(state, Setup.t(), [non_neg_integer]) :: {state, float}
  def step(%{hidden: %module{}} = state, setup, indices) do
    {gradient, pulls, loss, state} = pulls(state, setup, indices)
    # Workers learn while this process does.
    hidden = module.learn(state.hidden, pulls)
    {output, optimizer} = Optimizer.update(state.optimizer, state.output, gradient)
    {%{state | hidden: hidden, output: output, optimizer: optimizer}, loss}
  end

  @doc "The gradient of the mean loss of the examples that `indices` name."
  @spec gradient(state, Setup.t(), [non_neg_integer]) :: Model.parameters()
  def gradient(%{hidden: %module{}} = state, setup, indices) do
    {gradient, pulls, _, state} = pulls(state, setup, indices)
    Map.merge(gradient, module.gradient(state.hidden, pulls))
  end

  @doc "The state after one update with a given gradient."
  @spec update(state, Model.parameters()) :: state
  def update(%{hidden: %module{} = hidden} = state, gradient) do
    {above, below} = Map.split(gradient, Map.keys(state.output))
    {output, optimizer} = Optimizer.update(state.optimizer, state.output, above)
    %{state | hidden: module.update(hidden, below), output: output, optimizer: optimizer}
  end

  @doc "The sum of the losses of the examples that `indices` name, and their logits, in training mode."
  @spec loss(state, Setup.t(), [non_neg_integer]) :: {float, [[float]], state}
  def loss(%{hidden: %module{} = hidden} = state, setup, indices) do
    {outputs, hidden} = module.outputs(hidden, :train, indices)
    {loss, logits, dropout} = Model.loss(state.output, outputs, Data.labels(setup.train, indices), state.dropout)
    {loss, logits, %{state | hidden: hidden, dropout: dropout}}
  end

  @doc "Logits and labels of the test set."
  @spec evaluate(Setup.t(), state) :: Enumerable.t()
  def evaluate(%Setup{trial: trial, test: test}, %{hidden: %module{} = hidden, output: output}) do
    # A row of weights meets 64 images one after the other: few enough to stay in the cache until the next row.
    0..(test.count - 1)
    |> Stream.chunk_every(Trial.integer!(trial, "eval_batch_size"))
    |> Stream.flat_map(&Enum.chunk_every(&1, 64))
    |> Stream.flat_map(fn indices ->
      {outputs, _} = module.outputs(hidden, :test, indices)
      Enum.zip(Model.logits(output, outputs), Data.labels(test, indices))
    end)
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
    {pairs, []} =
      trial
      |> Schedule.pairs(length(order), examples(order))
      |> Enum.map_reduce(Enum.concat(order), fn %{batches: batches, stops: stops} = pair, left ->
        {part, left} = Enum.split(left, length(batches))
        {{pair.epoch, Enum.zip_with([0 | stops], stops, &Enum.slice(part, &1, &2 - &1))}, left}
      end)

    pairs
  end

  defp examples([epoch | _]), do: epoch |> Enum.map(&length/1) |> Enum.sum()

  # One step for each batch size and, in mode train, one evaluation step, all forgotten: it sizes the heap.
  defp warm_up(%Setup{trial: trial} = setup) do
    state = initial_state(setup, Trial.float!(trial, "model.dropout_rate"))
    sizes = setup.order |> Enum.concat() |> Enum.uniq_by(&length/1)
    for indices <- sizes, do: step(state, setup, indices)

    if Trial.text!(trial, "mode") == "train" do
      size = min(Trial.integer!(trial, "eval_batch_size"), setup.test.count)
      setup |> evaluate(state) |> Enum.take(size)
    end

    stop(state)
  end

  defp pulls(%{hidden: %module{} = hidden} = state, setup, indices) do
    {outputs, hidden} = module.outputs(hidden, :train, indices)
    labels = Data.labels(setup.train, indices)
    {gradient, pulls, loss, dropout} = Model.gradient_above(state.output, outputs, labels, state.dropout)
    {gradient, pulls, loss, %{state | hidden: hidden, dropout: dropout}}
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
    synchronise(state)
    Events.write(events, :chunk_stop, steps: counts.steps)
    {state, counts}
  end

  defp train_batch(indices, {state, counts}, setup, events) do
    first? = state.optimizer.steps == 0
    {state, loss} = step(state, setup, indices)

    if first? do
      synchronise(state)
      Events.write(events, :first_step_stop)
    end

    examples = counts.examples + length(indices)
    {state, %{steps: counts.steps + 1, examples: examples, loss: counts.loss + loss}}
  end

  defp synchronise(%{hidden: %module{} = hidden}), do: module.synchronise(hidden)

  defp evaluate_pair(state, epoch, setup, events) do
    if Trial.integer!(setup.trial, "evaluations_per_epoch") > 0 do
      Events.write(events, :eval_start, epoch: epoch)
      %{examples: examples, correct: correct, loss: loss} = setup |> evaluate(state) |> score()
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
