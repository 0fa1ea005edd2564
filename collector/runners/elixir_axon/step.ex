defmodule ElixirAxon.Step do
  @moduledoc """
  What is computed on the device, as `defn`: one training step, one evaluation step, one prediction.

  `predict_fn` is what `Axon.build/2` gives, in mode `:train` where a gradient is taken; `update_fn` is the optimizer's.
  """

  import Nx.Defn

  alias Axon.ModelState

  @doc "Gathers a batch and does one training step; the loss is added to the sum, times the examples."
  defn train(state, images, labels, indices, predict_fn, update_fn) do
    {inputs, targets} = batch(images, labels, indices)
    parameters = trainable_parameters(state.model_state)

    {{loss, _logits, statistics}, gradient} =
      value_and_grad(parameters, &objective(&1, state.model_state, inputs, targets, predict_fn), &elem(&1, 0))

    {updates, optimizer_state} = update_fn.(gradient, state.optimizer_state, parameters)
    parameters = Polaris.Updates.apply_updates(parameters, updates)

    %{
      model_state: updated(state.model_state, parameters, statistics),
      optimizer_state: optimizer_state,
      loss_sum: state.loss_sum + loss * Nx.axis_size(indices, 0)
    }
  end

  @doc "The gradient of the mean loss, in training mode."
  defn gradient(model_state, images, labels, indices, predict_fn) do
    {inputs, targets} = batch(images, labels, indices)
    parameters = trainable_parameters(model_state)
    grad(parameters, fn parameters -> elem(objective(parameters, model_state, inputs, targets, predict_fn), 0) end)
  end

  @doc "Mean loss and logits in training mode, and the model's state after it: dropout has drawn its masks."
  defn forward(model_state, images, labels, indices, predict_fn) do
    {inputs, targets} = batch(images, labels, indices)
    %{prediction: logits, state: statistics} = predict_fn.(model_state, inputs)
    {loss(targets, logits), logits, updated(model_state, %{}, statistics)}
  end

  @doc "The optimizer's update with a given gradient."
  defn update(state, gradient, update_fn) do
    parameters = trainable_parameters(state.model_state)
    {updates, optimizer_state} = update_fn.(gradient, state.optimizer_state, parameters)
    parameters = Polaris.Updates.apply_updates(parameters, updates)
    %{state | model_state: updated(state.model_state, parameters, %{}), optimizer_state: optimizer_state}
  end

  @doc "Adds correct predictions and losses of one batch of the test set."
  defn evaluate({correct, loss_sum}, model_state, inputs, targets, predict_fn) do
    logits = predict_fn.(model_state, inputs)
    hits = Nx.sum(Nx.equal(classes(logits), Nx.squeeze(targets, axes: [1])))
    # Nx sums bytes to u32, and s32 + u32 would be s64; what was compiled expects the type that it was given.
    {correct + Nx.as_type(hits, :s32), loss_sum + losses(targets, logits, reduction: :sum)}
  end

  @doc "The predicted class of each example, in evaluation mode."
  defn predict(model_state, images, indices, predict_fn) do
    classes(predict_fn.(model_state, Nx.take(images, indices)))
  end

  @doc "The mean loss over a batch: what training minimises."
  defn loss(targets, logits), do: losses(targets, logits, reduction: :mean)

  # Axon's loss expects probabilities, and one loss for each example, unless told otherwise.
  defnp losses(targets, logits, opts \\ []) do
    Axon.Losses.categorical_cross_entropy(targets, logits, from_logits: true, sparse: true, reduction: opts[:reduction])
  end

  defnp objective(parameters, model_state, inputs, targets, predict_fn) do
    %{prediction: logits, state: statistics} = predict_fn.(updated(model_state, parameters, %{}), inputs)
    {loss(targets, logits), logits, statistics}
  end

  defnp batch(images, labels, indices), do: {Nx.take(images, indices), Nx.take(labels, indices)}

  defnp classes(logits), do: Nx.argmax(logits, axis: 1)

  deftransformp trainable_parameters(model_state), do: ModelState.trainable_parameters(model_state)

  deftransformp updated(model_state, parameters, statistics),
    do: ModelState.update(model_state, parameters, statistics)
end
