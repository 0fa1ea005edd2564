defmodule Deadheat.Gc do
  @moduledoc """
  How long the BEAM collected garbage, over all of its threads.
  """

  @doc "Starts to account for it."
  @spec start() :: :ok
  def start do
    :erlang.system_flag(:microstate_accounting, true)
    :ok
  end

  @doc "Seconds since `start/0`."
  @spec seconds() :: float
  def seconds do
    ticks = :microstate_accounting |> :erlang.statistics() |> Enum.map(& &1.counters.gc) |> Enum.sum()
    :erlang.convert_time_unit(ticks, :perf_counter, :nanosecond) / 1.0e9
  end
end
