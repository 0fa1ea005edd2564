# elixir run.exs <trial.json> <events.jsonl>    train, time or prove
# elixir run.exs --describe                     print the versions
at_ns = :os.perf_counter(:nanosecond)
unix_ns = :os.system_time(:nanosecond)

# Written by hand, because the collector notes when an event arrives: compiling Deadheat.Events first takes 40 ms.
case System.argv() do
  [_, events] ->
    start = ~s({"kind": "run_start", "at_ns": #{at_ns}, "unix_ns": #{unix_ns}, "pid": #{System.pid()}}\n)
    :ok = File.write(events, start, [:append, :raw])

  _ ->
    :ok
end

shared = Path.expand("../_elixir", __DIR__)
# Where mix.exs puts what it builds; MIX_BUILD_PATH is Mix's own variable for another place.
build = System.get_env("MIX_BUILD_PATH") || Path.expand("../../../.toolchains/elixir_axon/build", __DIR__)
for place <- [build, build <> "/prod"], path <- Path.wildcard(place <> "/lib/*/ebin"), do: Code.append_path(path)

for file <- ~w(events trial), do: Code.require_file(file <> ".ex", shared)
Code.require_file("setup.ex", __DIR__)
alias Deadheat.Events

# Axon is asked for first: without it nothing of the runner compiles.
obstacle = fn ->
  cond do
    not Version.match?(System.version(), "~> 1.17") ->
      "Elixir #{System.version()} was found; Nx 0.13 needs 1.17 or newer (DEADHEAT_ELIXIR names another executable)"

    not Code.ensure_loaded?(Axon) ->
      "Axon is not built in #{build}"

    true ->
      nil
  end
end

compile_all = fn ->
  names = ~w(backend data gate layout loop model optimizer program step train trainer)
  own = for name <- names, do: Path.join(__DIR__, name <> ".ex")
  shared = for name <- ~w(cifar10 gc idx npy schedule), do: Path.join(shared, name <> ".ex")
  {:ok, _, _} = Kernel.ParallelCompiler.require(shared ++ own, return_diagnostics: true)
end

describe = fn ->
  [language: "Elixir", language_version: System.version(), otp: System.otp_release()] ++ ElixirAxon.Program.describe()
end

run = fn trial_path, events_path ->
  events = Events.open!(events_path)
  trial = Deadheat.Trial.read!(trial_path)

  case ElixirAxon.Setup.obstacle(trial) do
    nil ->
      compile_all.()
      ElixirAxon.Program.run(trial, events)

    message ->
      Events.write(events, :unsupported, message: message)
  end
end

fail = fn message, exit_code ->
  # The collector shows the last line of the log.
  IO.puts(:stderr, message)
  System.halt(exit_code)
end

case {System.argv(), obstacle.()} do
  {_, message} when is_binary(message) ->
    fail.(message, 1)

  {["--describe"], nil} ->
    compile_all.()
    IO.puts(Events.encode(describe.()))

  {[trial, events], nil} ->
    try do
      run.(trial, events)
    rescue
      error ->
        IO.puts(:stderr, Exception.format_stacktrace(__STACKTRACE__))
        fail.(Exception.message(error), 1)
    end

  {other, nil} ->
    fail.("run.exs: got #{length(other)} arguments; expected <trial.json> <events.jsonl> or --describe", 2)
end
