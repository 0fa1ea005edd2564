defmodule ElixirBeam.Workers do
  @moduledoc """
  The hidden layer shared out: as many processes as schedulers, each with the weights of some units.

  What travels between processes is indices, the units' outputs and what pulls at them: 64 bytes for each unit and
  example. Weights never do: a process of its own heap would have to be sent 24 bytes for each of them, and to send as
  many back, in every step. Sums over units are made in one process, in the order of the units, so that every number is
  the one that the variant `default` computes.
  """

  alias ElixirBeam.{Model, Runtime, Share, Tensor}

  @enforce_keys [:pids]
  defstruct @enforce_keys

  @type t :: %__MODULE__{pids: [pid]}

  @doc "Starts `count` processes and shares the units of `share` out among them."
  @spec start(Share.t(), pos_integer) :: t
  def start(share, count) do
    options = [:link | Runtime.heap(count)]
    %__MODULE__{pids: for(part <- Share.split(share, count), do: :erlang.spawn_opt(fn -> serve(part) end, options))}
  end

  @doc "As `Share.outputs/3`."
  @spec outputs(t, :train | :test, [non_neg_integer]) :: {[[float]], t}
  def outputs(workers, half, indices), do: {workers |> ask({:outputs, half, indices}) |> Enum.concat(), workers}

  @doc "As `Share.gradient/2`."
  @spec gradient(t, [[float]]) :: Model.parameters()
  def gradient(%__MODULE__{pids: pids} = workers, pulls) do
    parts = Deadheat.Schedule.cut(pulls, length(pids))
    workers |> ask_each(Enum.map(parts, &{:gradient, &1})) |> join()
  end

  @doc "As `Share.update/2`; returns before it is done."
  @spec update(t, Model.parameters()) :: t
  def update(%__MODULE__{pids: pids} = workers, gradient) do
    Enum.zip_with(pids, Share.split_tensors(gradient, length(pids)), &send(&1, {:update, &2}))
    workers
  end

  @doc "As `Share.learn/2`; returns before it is done."
  @spec learn(t, [[float]]) :: t
  def learn(%__MODULE__{pids: pids} = workers, pulls) do
    Enum.zip_with(pids, Deadheat.Schedule.cut(pulls, length(pids)), &send(&1, {:learn, &2}))
    workers
  end

  @doc "As `Share.parameters/1`."
  @spec parameters(t) :: Model.parameters()
  def parameters(workers), do: workers |> ask(:parameters) |> join()

  @doc "Returns when every worker has done what it was told."
  @spec synchronise(t) :: :ok
  def synchronise(workers) do
    ask(workers, :synchronise)
    :ok
  end

  @doc "Ends the workers."
  @spec stop(t) :: :ok
  def stop(%__MODULE__{pids: pids}), do: Enum.each(pids, &send(&1, :stop))

  defp ask(%__MODULE__{pids: pids} = workers, request), do: ask_each(workers, List.duplicate(request, length(pids)))

  # All are asked before the first is waited for; answers in the order of the workers, and so of the units.
  defp ask_each(%__MODULE__{pids: pids}, requests) do
    pids
    |> Enum.zip_with(requests, fn pid, request ->
      reference = make_ref()
      send(pid, {:ask, {self(), reference}, request})
      reference
    end)
    |> Enum.map(fn reference ->
      receive do
        {^reference, {:ok, answer}} -> answer
        {^reference, :diverged} -> raise ArithmeticError
      end
    end)
  end

  defp join([first | _] = parts),
    do: Map.new(first, fn {name, _} -> {name, Tensor.join(Enum.map(parts, & &1[name]))} end)

  defp serve(share) do
    receive do
      {:ask, asker, request} -> share |> answer(asker, request) |> serve()
      {:learn, pulls} -> share |> told(&Share.learn(&1, pulls)) |> serve()
      {:update, gradient} -> share |> told(&Share.update(&1, gradient)) |> serve()
      :stop -> :ok
    end
  end

  defp answer(share, {pid, reference}, request) do
    {answer, share} = guarded(share, &reply(&1, request))
    send(pid, {reference, answer})
    share
  end

  defp told(share, change), do: share |> guarded(&{nil, change.(&1)}) |> elem(1)

  # Arithmetic that would leave the finite numbers raises. It is told to whoever asks next.
  defp guarded(:diverged, _), do: {:diverged, :diverged}

  defp guarded(share, function) do
    {answer, share} = function.(share)
    {{:ok, answer}, share}
  rescue
    ArithmeticError -> {:diverged, :diverged}
  end

  defp reply(share, {:outputs, half, indices}), do: Share.outputs(share, half, indices)
  defp reply(share, {:gradient, pulls}), do: {Share.gradient(share, pulls), share}
  defp reply(share, :parameters), do: {Share.parameters(share), share}
  defp reply(share, :synchronise), do: {:ok, share}
end
