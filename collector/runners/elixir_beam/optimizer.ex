defmodule ElixirBeam.Optimizer do
  @moduledoc """
  SGD with momentum, and Adam, with the weight decay in the gradient, as the runner contract writes them.
  """

  alias Deadheat.Trial
  alias ElixirBeam.{Model, Tensor, Vector}

  @typedoc "Hyperparameters, steps done, and the moments of every parameter."
  @type t :: %{kind: atom, steps: non_neg_integer, moments: [Model.parameters()], settings: map}

  @settings %{
    "sgd" => ~w(learning_rate weight_decay momentum)a,
    "adam" => ~w(learning_rate weight_decay beta1 beta2 epsilon)a
  }

  @doc "A fresh optimizer for `parameters`."
  @spec new(Trial.t(), Model.parameters()) :: t
  def new(trial, parameters) do
    name = Trial.text!(trial, "optimizer")
    settings = Map.new(@settings[name], &{&1, Trial.float!(trial, "optimizer.#{&1}")})
    zeros = Map.new(parameters, fn {name, tensor} -> {name, Tensor.zeros_like(tensor)} end)

    %{
      kind: String.to_existing_atom(name),
      steps: 0,
      moments: moments(name, settings, zeros),
      settings: settings
    }
  end

  defp moments("adam", _, zeros), do: [zeros, zeros]
  # A velocity of gradients that are forgotten at once would only be memory.
  defp moments("sgd", %{momentum: momentum}, _) when momentum == 0, do: []
  defp moments("sgd", _, zeros), do: [zeros]

  @doc "Names of the optimizers."
  @spec known() :: [String.t()]
  def known, do: Map.keys(@settings)

  @doc "Parameters and optimizer after one step along `gradient`."
  @spec update(t, Model.parameters(), Model.parameters()) :: {Model.parameters(), t}
  def update(optimizer, parameters, gradient) do
    optimizer = %{optimizer | steps: optimizer.steps + 1}
    change = change(optimizer)

    updated =
      for {name, weight} <- parameters do
        gradient = decay(gradient[name], weight, optimizer.settings.weight_decay)
        {name, change.(weight, gradient, Enum.map(optimizer.moments, & &1[name]))}
      end

    {
      Map.new(updated, fn {name, {weight, _}} -> {name, weight} end),
      %{optimizer | moments: by_moment(updated)}
    }
  end

  # From [{name, {weight, [moment, ...]}}] back to a map by name for each moment.
  defp by_moment(updated) do
    updated
    |> Enum.map(fn {name, {_, moments}} -> Enum.map(moments, &{name, &1}) end)
    |> Enum.zip_with(&Map.new/1)
  end

  defp decay(gradient, _, 0.0), do: gradient
  defp decay(gradient, weight, decay), do: weighted_sum(1.0, gradient, decay, weight)

  defp change(%{kind: :sgd, settings: settings}) do
    fn
      weight, gradient, [] ->
        {weighted_sum(1.0, weight, -settings.learning_rate, gradient), []}

      weight, gradient, [velocity] ->
        velocity = weighted_sum(settings.momentum, velocity, 1.0, gradient)
        {weighted_sum(1.0, weight, -settings.learning_rate, velocity), [velocity]}
    end
  end

  # Both sides of the contract's fraction are multiplied by sqrt(1 - beta2^t): one division per weight.
  defp change(%{kind: :adam, steps: t, settings: settings}) do
    %{beta1: beta1, beta2: beta2} = settings
    correction = :math.sqrt(1 - :math.pow(beta2, t))
    rate = settings.learning_rate * correction / (1 - :math.pow(beta1, t))
    epsilon = settings.epsilon * correction

    fn weight, gradient, [mean, square] ->
      mean = weighted_sum(beta1, mean, 1 - beta1, gradient)
      square = Tensor.map([square, gradient], fn [v, g] -> Vector.mean_square(v, g, beta2, 1 - beta2) end)
      step = fn [w, m, v] -> Vector.adam_step(w, m, Vector.root(v), rate, epsilon) end
      {Tensor.map([weight, mean, square], step), [mean, square]}
    end
  end

  defp weighted_sum(a, x, b, y), do: Tensor.map([x, y], fn rows -> Vector.combine([a, b], rows) end)
end
