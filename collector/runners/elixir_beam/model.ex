defmodule ElixirBeam.Model do
  @moduledoc """
  The perceptron with one hidden layer: dense, ReLU, dropout, dense; its loss and the gradient of that.

  Hidden activations are kept unit by unit (a list over the batch for each unit), because a row of weights then meets
  the whole batch while it is in the cache, and a unit's gradient needs exactly the examples in which it was active:
  where ReLU or dropout gave zero, the product is zero and is left out.
  """

  alias Deadheat.Npy
  alias ElixirBeam.{Tensor, Vector}

  @names ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]

  @typedoc "Weights, or anything that has one tensor for each of them."
  @type parameters :: %{String.t() => Tensor.t()}

  @typedoc "The rate of dropout and the state of its generator; `:none` in evaluation."
  @type dropout :: {float, :rand.mwc59_state()} | :none

  @typedoc "One array for each parameter."
  @type arrays :: %{String.t() => Npy.t()}

  @doc "Reads one array for each parameter from a folder of `<layer>.<parameter>.npy`."
  @spec read!(Path.t()) :: arrays
  def read!(folder), do: Map.new(@names, &{&1, folder |> Path.join(&1 <> ".npy") |> Npy.read!()})

  @doc "The parameters that `arrays` hold."
  @spec new(arrays) :: parameters
  def new(arrays), do: Map.new(arrays, fn {name, array} -> {name, Tensor.from_npy(array)} end)

  @doc "Writes the parameters as `<folder>/<prefix><layer>.<parameter>.npy`."
  @spec write!(parameters, Path.t(), String.t()) :: :ok
  def write!(parameters, folder, prefix) do
    Enum.each(parameters, fn {name, tensor} ->
      tensor |> Tensor.to_npy() |> Npy.write!(Path.join(folder, prefix <> name <> ".npy"))
    end)
  end

  @doc "How many trainable numbers there are."
  @spec count(parameters) :: non_neg_integer
  def count(parameters), do: parameters |> Map.values() |> Enum.map(&Enum.product(&1.shape)) |> Enum.sum()

  @doc "A generator of dropout masks."
  @spec dropout(float, non_neg_integer) :: dropout
  def dropout(rate, seed), do: {rate, :rand.mwc59_seed(seed)}

  @doc "The names of the hidden layer's parameters."
  @spec hidden_names() :: [String.t()]
  def hidden_names, do: ["hidden.weight", "hidden.bias"]

  @doc "What each hidden unit gives for each image, before ReLU: a list over the images for each unit."
  @spec outputs(parameters, [Vector.t()]) :: [[float]]
  def outputs(parameters, images), do: dense(parameters, "hidden", images)

  @doc "The logits of each image, in evaluation mode, from what the hidden units gave."
  @spec logits(parameters, [[float]]) :: [[float]]
  def logits(parameters, outputs), do: parameters |> forward(outputs, :none) |> elem(2)

  @doc "The sum of the losses of the examples, and their logits, in training mode; the state of dropout goes on."
  @spec loss(parameters, [[float]], [byte], dropout) :: {float, [[float]], dropout}
  def loss(parameters, outputs, labels, dropout) do
    {_, _, logits, dropout} = forward(parameters, outputs, dropout)
    {logits |> Enum.zip_with(labels, &cross_entropy/2) |> Enum.sum(), logits, dropout}
  end

  @doc """
  The gradient of the mean loss with respect to the output layer; what pulls at each hidden unit, for each image; the
  sum of the losses; and the state of dropout after it.
  """
  @spec gradient_above(parameters, [[float]], [byte], dropout) :: {parameters, [[float]], float, dropout}
  def gradient_above(parameters, outputs, labels, dropout) do
    {units, activations, logits, dropout} = forward(parameters, outputs, dropout)
    losses = Enum.zip_with(logits, labels, &cross_entropy/2)
    # What each example's logits pull at; the loss is the mean over the batch.
    pulls = Enum.zip_with(logits, labels, &softmax_error(&1, &2, 1 / length(labels)))
    pulls_by_class = transpose(pulls)

    gradient = %{
      "output.weight" => like(parameters["output.weight"], Enum.map(pulls_by_class, &Vector.combine(&1, activations))),
      "output.bias" => Tensor.new(Enum.map(pulls_by_class, &Enum.sum/1))
    }

    {gradient, back_through_output(parameters["output.weight"], pulls, units, dropout), Enum.sum(losses), dropout}
  end

  @doc "The gradient with respect to the hidden layer, from what pulls at each of its units."
  @spec gradient_below(parameters, [[float]], [Vector.t()]) :: parameters
  def gradient_below(parameters, pulls, images) do
    %{
      "hidden.weight" => like(parameters["hidden.weight"], Enum.map(pulls, &Vector.combine_active(&1, images))),
      "hidden.bias" => Tensor.new(Enum.map(pulls, &Enum.sum/1))
    }
  end

  # Activations by unit and by image, logits by image, dropout.
  defp forward(parameters, outputs, dropout) do
    {units, dropout} = Enum.map_reduce(outputs, dropout, &activate/2)
    activations = units |> transpose() |> Enum.map(&Vector.from_list/1)
    {units, activations, parameters |> dense("output", activations) |> transpose(), dropout}
  end

  # For each unit of the layer its outputs over the batch.
  defp dense(parameters, layer, inputs) do
    biases = Tensor.to_list(parameters[layer <> ".bias"])
    Enum.zip_with(parameters[layer <> ".weight"].rows, biases, &Vector.affine(&1, &2, inputs))
  end

  # ReLU, then dropout, on one unit over the batch.
  defp activate(outputs, :none), do: {Enum.map(outputs, &max(&1, 0.0)), :none}

  defp activate(outputs, {rate, generator}) do
    # A generator's value has 32 bits; below the threshold the activation is dropped.
    {outputs, generator} = drop(outputs, round(rate * 0x1_0000_0000), 1 / (1 - rate), generator)
    {outputs, {rate, generator}}
  end

  defp drop([], _, _, generator), do: {[], generator}

  defp drop([output | rest], threshold, scale, generator) do
    generator = :rand.mwc59(generator)
    kept? = output > 0.0 and :rand.mwc59_value32(generator) >= threshold
    {rest, last} = drop(rest, threshold, scale, generator)
    {[if(kept?, do: output * scale, else: 0.0) | rest], last}
  end

  # For each unit what its outputs pull at over the batch: 0.0 where it was not active.
  defp back_through_output(%Tensor{shape: [_, count], rows: rows}, pulls, units, {rate, _}) do
    scale = 1 / (1 - rate)

    pulls
    |> Enum.map(&(&1 |> Vector.combine(rows) |> Vector.to_list(count)))
    |> transpose()
    |> Enum.zip_with(units, &mask(&1, &2, scale))
  end

  defp mask([pull | pulls], [output | outputs], scale) when output > 0.0,
    do: [pull * scale | mask(pulls, outputs, scale)]

  defp mask([_ | pulls], [_ | outputs], scale), do: [0.0 | mask(pulls, outputs, scale)]
  defp mask([], [], _), do: []

  @doc "The loss of one example."
  @spec cross_entropy([float], byte) :: float
  def cross_entropy(logits, label), do: log_sum_exp(logits) - Enum.at(logits, label)

  defp softmax_error(logits, label, weight) do
    total = log_sum_exp(logits)
    softmax_error(logits, label, total, weight)
  end

  defp softmax_error([z | rest], label, total, weight) do
    target = if label == 0, do: 1.0, else: 0.0
    [(:math.exp(z - total) - target) * weight | softmax_error(rest, label - 1, total, weight)]
  end

  defp softmax_error([], _, _, _), do: []

  # The largest logit is taken out, so that no exponential overflows.
  defp log_sum_exp(logits) do
    largest = Enum.max(logits)
    largest + :math.log(logits |> Enum.map(&:math.exp(&1 - largest)) |> Enum.sum())
  end

  defp like(tensor, rows), do: %Tensor{tensor | rows: rows}
  defp transpose(rows), do: Enum.zip_with(rows, & &1)
end
