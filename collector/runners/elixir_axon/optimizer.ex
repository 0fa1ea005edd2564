defmodule ElixirAxon.Optimizer do
  @moduledoc """
  The optimizers of the contract (§6), composed of Polaris' updates with every hyperparameter given.

  The ready-made `Polaris.Optimizers.sgd/1` and `adam/1` know no weight decay, and `adam/1` adds 1e-15 under the root
  unless told otherwise.
  """

  alias Deadheat.Trial
  alias Polaris.Updates

  @typedoc "Polaris' pair of functions: initial state, and updates from gradients."
  @type t :: {function, function}

  @doc "The optimizer of a trial, at its learning rate."
  @spec new(Trial.t()) :: t
  def new(trial) do
    decay = Trial.float!(trial, "optimizer.weight_decay")

    trial
    |> Trial.text!("optimizer")
    |> updates(trial, decay)
    |> Updates.scale_by_state(-Trial.float!(trial, "optimizer.learning_rate"))
  end

  @doc "The optimizer's state with another learning rate: what `scale_by_state` keeps, the last update and so the first."
  @spec put_learning_rate(tuple, float) :: tuple
  def put_learning_rate(state, rate) do
    %{scale: scale} = elem(state, 0)
    put_elem(state, 0, %{scale: Nx.tensor(-rate, type: Nx.type(scale))})
  end

  defp updates("sgd", trial, decay) do
    case Trial.float!(trial, "optimizer.momentum") do
      # A velocity of gradients that are forgotten at once would only be memory.
      momentum when momentum == 0 -> coupled_decay(decay)
      # The contract's momentum keeps gradients, not steps: the learning rate is outside of it.
      momentum -> decay |> coupled_decay() |> Updates.trace(decay: momentum, nesterov: false)
    end
  end

  defp updates("adam", trial, decay), do: decay |> coupled_decay() |> Updates.scale_by_adam(adam_options(trial))

  defp updates("adamw", trial, decay) do
    # Behind Adam and before the learning rate: it is scaled by the learning rate alone.
    trial |> adam_options() |> Updates.scale_by_adam() |> Updates.add_decayed_weights(decay: decay)
  end

  defp coupled_decay(decay) when decay == 0, do: Updates.identity()
  defp coupled_decay(decay), do: Updates.add_decayed_weights(decay: decay)

  defp adam_options(trial) do
    [
      b1: Trial.float!(trial, "optimizer.beta1"),
      b2: Trial.float!(trial, "optimizer.beta2"),
      eps: Trial.float!(trial, "optimizer.epsilon"),
      eps_root: 0.0
    ]
  end
end
