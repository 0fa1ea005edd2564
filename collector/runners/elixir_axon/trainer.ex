defmodule ElixirAxon.Trainer do
  @moduledoc """
  Model, optimizer and data of one trial, and what can be done with them. A state goes in, a state comes out.
  """

  alias Axon.ModelState
  alias Deadheat.Trial
  alias ElixirAxon.{Backend, Data, Layout, Loop, Model, Optimizer, Step}

  @enforce_keys [:trial, :data, :layout, :train_fn, :predict_fn, :optimizer, :loop, :initial]
  defstruct @enforce_keys ++ [compiled: %{}]

  @type t :: %__MODULE__{}

  @typedoc "What a training step changes."
  @type state :: %{model_state: ModelState.t(), optimizer_state: tuple, loss_sum: Nx.Tensor.t()}

  @typedoc "The indices of one batch."
  @type batch :: Nx.Tensor.t()

  @doc "Builds model and optimizer, with `weights` in place."
  @spec new(Trial.t(), Data.t(), Layout.weights(), float) :: t
  def new(trial, data, weights, dropout_rate) do
    channels = Backend.channels(trial)
    layout = Layout.new(Trial.text!(trial, "model"), channels, length(Trial.floats!(trial, "data.mean")))

    setting = %{
      channels: channels,
      pool: Backend.pool(trial),
      dropout_rate: dropout_rate,
      classes: Trial.integer!(trial, "data.classes")
    }

    model = Model.build(trial, setting, data.image_shape)
    given = Layout.from_canonical(weights, layout)
    # Traced, not computed: Axon itself takes given weights of any shape.
    %ModelState{data: wanted} = Axon.trace_init(model, Nx.template(Tuple.insert_at(data.image_shape, 0, 1), :f32))
    :ok = Layout.fit!(given, wanted)
    {init_fn, train_fn} = Axon.build(model, mode: :train)
    {_, predict_fn} = Axon.build(model, mode: :inference)
    optimizer = Optimizer.new(trial)
    example = Enum.map([data.images, data.labels], &Nx.slice_along_axis(&1, 0, 1)) |> List.to_tuple()

    trainer = %__MODULE__{
      trial: trial,
      data: data,
      layout: layout,
      train_fn: train_fn,
      predict_fn: predict_fn,
      optimizer: optimizer,
      loop: nil,
      # Given weights, so that no random ones are drawn. Axon hands its own option :mode to the compiler, which EMLX
      # refuses; inside another jit nobody is asked.
      initial: Nx.Defn.jit_apply(init_fn, [elem(example, 0), ModelState.new(given)])
    }

    trainer = %{trainer | initial: start(trainer, weights)}
    if Backend.loop?(trial), do: %{trainer | loop: loop(model, trainer, example)}, else: trainer
  end

  @doc "The state before the first step: these weights, a fresh optimizer, the trial's own masks to come."
  @spec start(t, Layout.weights()) :: state
  def start(%__MODULE__{optimizer: {init_fn, _}} = trainer, weights) do
    model_state = put_weights(model_state(trainer.initial), Layout.from_canonical(weights, trainer.layout))
    optimizer_state = Nx.Defn.jit_apply(init_fn, [ModelState.trainable_parameters(model_state)])
    %{model_state: model_state, optimizer_state: optimizer_state, loss_sum: Nx.tensor(0.0)}
  end

  @doc "The number of trainable parameters."
  @spec parameters(t) :: pos_integer
  def parameters(%__MODULE__{initial: %{model_state: model_state}}) do
    for {_, layer} <- ModelState.trainable_parameters(model_state), {_, tensor} <- layer, reduce: 0 do
      count -> count + Nx.size(tensor)
    end
  end

  @doc "The trainer with everything compiled that its mode calls with batches of `sizes` examples."
  @spec compile(t, [pos_integer]) :: t
  def compile(%__MODULE__{} = trainer, sizes) do
    mode = Trial.text!(trainer.trial, "mode")

    steps =
      cond do
        mode == "infer" -> [:predict]
        trainer.loop == nil -> [:train]
        # The loop compiles its own.
        true -> []
      end

    keys = for step <- steps, size <- Enum.uniq(sizes), do: {step, size}
    tests = for {_, labels} <- trainer.data.test, mode == "train", uniq: true, do: {:evaluate, Nx.axis_size(labels, 0)}
    %{trainer | compiled: Map.new(keys ++ tests, &{&1, compile_one(trainer, &1)})}
  end

  @doc "One step for each of `batches`; after each number of steps in `stops` synchronises and calls `mark`."
  @spec run_steps(t, state, [batch], [pos_integer], (pos_integer -> any)) :: state
  def run_steps(%__MODULE__{loop: nil} = trainer, state, batches, stops, mark) do
    {state, _} =
      Enum.reduce(batches, {state, 1}, fn batch, {state, done} ->
        state = step(trainer, state, batch)
        if done in stops, do: report(done, state.loss_sum, state, mark)
        {state, done + 1}
      end)

    state
  end

  def run_steps(%__MODULE__{loop: loop, data: data}, state, batches, stops, mark) do
    gather = fn batch -> {Nx.take(data.images, batch), Nx.take(data.labels, batch)} end
    Loop.run(loop, state, batches, gather, stops, &report(&1, &2, &3, mark))
  end

  @doc "The state's sum of losses, and the state with a new one."
  @spec take_loss_sum(state) :: {number | atom, state}
  def take_loss_sum(state), do: {Nx.to_number(state.loss_sum), %{state | loss_sum: Nx.tensor(0.0)}}

  @doc "The predicted class of each example, in evaluation mode, left on the device."
  @spec infer(t, state, batch) :: Nx.Tensor.t()
  def infer(trainer, state, batch),
    do: call(trainer, {:predict, Nx.size(batch)}, [state.model_state, trainer.data.images, batch])

  @doc "Examples, correct predictions and mean loss on the whole test set."
  @spec evaluate(t, state) :: {pos_integer, non_neg_integer, number | atom}
  def evaluate(%__MODULE__{data: data} = trainer, state) do
    sums = {Nx.tensor(0, type: :s32), Nx.tensor(0.0)}

    {correct, loss_sum} =
      Enum.reduce(data.test, sums, fn {images, labels}, sums ->
        call(trainer, {:evaluate, Nx.axis_size(labels, 0)}, [sums, state.model_state, images, labels])
      end)

    {data.test_examples, Nx.to_number(correct), mean(Nx.to_number(loss_sum), data.test_examples)}
  end

  @doc "The logits of the test set, in evaluation mode."
  @spec logits(t, state) :: Nx.Tensor.t()
  def logits(%__MODULE__{data: data, predict_fn: predict_fn}, state) do
    data.test
    |> Enum.map(fn {images, _} -> Nx.Defn.jit_apply(predict_fn, [state.model_state, images]) end)
    |> Nx.concatenate()
  end

  @doc "Logits and mean loss of one batch in training mode; the state has drawn its masks."
  @spec forward(t, state, batch) :: {Nx.Tensor.t(), number, state}
  def forward(%__MODULE__{data: data, train_fn: train_fn}, state, batch) do
    forward = &Step.forward(&1, &2, &3, &4, train_fn)
    {loss, logits, model_state} = Nx.Defn.jit_apply(forward, [state.model_state, data.images, data.labels, batch])
    {logits, Nx.to_number(loss), %{state | model_state: model_state}}
  end

  @doc "The gradient of the mean loss of one batch, in the canonical layout."
  @spec gradient(t, state, batch) :: Layout.weights()
  def gradient(%__MODULE__{data: data, train_fn: train_fn, layout: layout}, state, batch) do
    (&Step.gradient(&1, &2, &3, &4, train_fn))
    |> Nx.Defn.jit_apply([state.model_state, data.images, data.labels, batch])
    |> Layout.to_canonical(layout)
  end

  @doc "The state after one update with a given gradient, in the canonical layout."
  @spec update(t, state, Layout.weights()) :: state
  def update(%__MODULE__{optimizer: {_, update_fn}, layout: layout}, state, gradient) do
    Nx.Defn.jit_apply(&Step.update(&1, &2, update_fn), [state, Layout.from_canonical(gradient, layout)])
  end

  @doc "The trainable weights in the canonical layout."
  @spec weights(t, state) :: Layout.weights()
  def weights(trainer, state),
    do: state.model_state |> ModelState.trainable_parameters() |> Layout.to_canonical(trainer.layout)

  @doc "The running statistics of batch norms."
  @spec statistics(t, state) :: Layout.weights()
  def statistics(trainer, state),
    do: state.model_state |> ModelState.trainable_state() |> Layout.to_canonical(trainer.layout)

  defp step(%__MODULE__{data: data} = trainer, state, batch),
    do: call(trainer, {:train, Nx.size(batch)}, [state, data.images, data.labels, batch])

  defp report(done, scalar, others, mark) do
    Backend.synchronise(scalar, others)
    mark.(done)
  end

  # What was compiled; the gate calls much of it once only.
  defp call(%__MODULE__{compiled: compiled} = trainer, key, arguments) do
    case compiled do
      %{^key => function} -> apply(function, arguments)
      %{} -> Nx.Defn.jit_apply(function(trainer, key), arguments)
    end
  end

  defp compile_one(%__MODULE__{data: data, initial: initial} = trainer, {kind, size} = key) do
    arguments =
      case kind do
        :train -> [initial, data.images, data.labels, Nx.template({size}, :s32)]
        :predict -> [initial.model_state, data.images, Nx.template({size}, :s32)]
        :evaluate -> [{Nx.template({}, :s32), Nx.template({}, :f32)}, initial.model_state | test_templates(data, size)]
      end

    Nx.Defn.compile(function(trainer, key), arguments)
  end

  defp test_templates(data, size),
    do: [Nx.template(Tuple.insert_at(data.image_shape, 0, size), :f32), Nx.template({size, 1}, :s32)]

  defp function(%__MODULE__{train_fn: train_fn, optimizer: {_, update_fn}}, {:train, _}),
    do: &Step.train(&1, &2, &3, &4, train_fn, update_fn)

  defp function(%__MODULE__{predict_fn: predict_fn}, {:predict, _}), do: &Step.predict(&1, &2, &3, predict_fn)
  defp function(%__MODULE__{predict_fn: predict_fn}, {:evaluate, _}), do: &Step.evaluate(&1, &2, &3, &4, predict_fn)

  defp loop(model, trainer, example), do: Loop.new(model, trainer.optimizer, trainer.initial.model_state, example)

  defp model_state(%ModelState{} = model_state), do: model_state
  defp model_state(%{model_state: model_state}), do: model_state

  defp put_weights(%ModelState{data: data} = model_state, weights) do
    %{
      model_state
      | data: Enum.reduce(weights, data, fn {layer, given}, data -> Map.update!(data, layer, &put(&1, given)) end)
    }
  end

  defp put(layer, given), do: Enum.reduce(given, layer, fn {key, tensor}, layer -> Map.replace!(layer, key, tensor) end)

  defp mean(sum, count) when is_number(sum), do: sum / count
  defp mean(sum, _), do: sum
end
