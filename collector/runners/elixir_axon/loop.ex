defmodule ElixirAxon.Loop do
  @moduledoc """
  Axon's own high-level loop, for the variants `*_loop`: what the guides of Axon train with.

  Each evaluation interval is one `Axon.Loop.run/4`. A run is strict, as by default: one shape, compiled once. The
  smaller last batch of an epoch is therefore a run of its own; without `strict?` Nx would trace every single step
  anew where the compiler keeps no cache of traces.
  """

  alias Axon.Loop.State
  alias ElixirAxon.Step

  @typedoc "A loop, and its state before the first step with no batch in it."
  @type t :: %{loop: Axon.Loop.t(), template: map}

  @doc "The loop of a model, loss and optimizer."
  @spec new(Axon.t(), {function, function}, Axon.ModelState.t(), {Nx.Tensor.t(), Nx.Tensor.t()}) :: t
  def new(model, optimizer, model_state, example) do
    loop = Axon.Loop.trainer(model, &Step.loss/2, optimizer, log: 0)
    %{loop: %{loop | output_transform: & &1}, template: loop.init.(example, model_state)}
  end

  @doc "Trains on `batches`, lists of indices; after each number of steps in `stops` calls `mark`."
  @spec run(t, map, [Nx.Tensor.t()], (Nx.Tensor.t() -> tuple), [pos_integer], (pos_integer, Nx.Tensor.t(), map -> any)) ::
          map
  def run(loop, state, batches, gather, stops, mark) do
    {state, _} =
      batches
      |> Enum.chunk_by(&Nx.size/1)
      |> Enum.reduce({state, 0}, fn group, {state, done} ->
        {run_group(loop, state, group, gather, &report(&1, done, stops, mark)), done + length(group)}
      end)

    state
  end

  defp run_group(%{loop: loop, template: template}, state, [first | _] = group, gather, report) do
    %State{step_state: step_state} =
      loop
      |> Axon.Loop.handle_event(:iteration_completed, report)
      |> Axon.Loop.from_state(%State{step_state: begin(template, state, Nx.size(first))})
      |> Axon.Loop.run(Stream.map(group, gather))

    # The loop keeps the mean loss of its steps.
    examples = length(group) * Nx.size(first)

    %{
      model_state: step_state.model_state,
      optimizer_state: step_state.optimizer_state,
      loss_sum: Nx.add(state.loss_sum, Nx.multiply(step_state.loss, examples))
    }
  end

  defp begin(template, state, size) do
    %{
      template
      | i: Nx.tensor(0),
        loss: Nx.tensor(0.0),
        y_true: Nx.broadcast(Nx.tensor(0, type: Nx.type(template.y_true)), {size, 1}),
        y_pred: Nx.broadcast(0.0, {size, Nx.axis_size(template.y_pred, 1)}),
        model_state: state.model_state,
        optimizer_state: state.optimizer_state
    }
  end

  defp report(%State{iteration: iteration, step_state: step_state} = state, done, stops, mark) do
    steps = done + iteration + 1
    if steps in stops, do: mark.(steps, step_state.loss, step_state)
    {:continue, state}
  end
end
