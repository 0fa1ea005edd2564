defmodule ElixirBeam.Runtime do
  @moduledoc """
  What the BEAM is told about this process, and what it tells afterwards.
  """

  alias Deadheat.Gc

  # 64 MB. A step allocates about 20 MB and leaves 8 MB alive (weights and moments, 24 bytes a number and its share of
  # a chunk). A larger heap is collected less often, but at 128 MB touching it first costs more than that saves.
  @heap_words 8_000_000

  @doc "Sizes the heap of the calling process, and starts to account for collections."
  @spec prepare() :: :ok
  def prepare do
    for {flag, value} <- heap(1), do: Process.flag(flag, value)
    Gc.start()
  end

  @doc "What a process is started with that does one of `count` equal parts of a step."
  @spec heap(pos_integer) :: keyword
  def heap(count) do
    # Every step replaces all weights and moments: an old generation would only collect the dead.
    [min_heap_size: div(@heap_words, count), fullsweep_after: 0]
  end

  @doc "What `run_stop` reports."
  @spec facts() :: keyword
  def facts do
    # The BEAM has no switch for subnormal floats.
    [flushes_subnormals: false, threads: :erlang.system_info(:schedulers_online), gc_s: Gc.seconds()]
  end
end
