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
Code.require_file("events.ex", shared)
alias Deadheat.Events

compile_all = fn ->
  for file <- ~w(gc trial npy idx schedule), do: Code.require_file(file <> ".ex", shared)

  for file <- ~w(runtime unroll vector tensor data model optimizer setup share workers train gate) do
    Code.require_file(file <> ".ex", __DIR__)
  end
end

describe = fn ->
  Events.encode(
    language: "Elixir",
    language_version: System.version(),
    framework: "Erlang/OTP",
    framework_version: System.otp_release(),
    erts: to_string(:erlang.system_info(:version)),
    emulator: to_string(:erlang.system_info(:emu_flavor)),
    devices: ["cpu"]
  )
end

run = fn trial_path, events_path ->
  compile_all.()
  events = Events.open!(events_path)
  ElixirBeam.Runtime.prepare()
  Events.write(events, :import_stop)
  trial = Deadheat.Trial.read!(trial_path)

  case {ElixirBeam.Setup.obstacle(trial), trial["mode"]} do
    {nil, "gate"} -> trial |> ElixirBeam.Setup.prepare!(events) |> ElixirBeam.Gate.run(events)
    {nil, _} -> trial |> ElixirBeam.Setup.prepare!(events) |> ElixirBeam.Train.run(events)
    {message, _} -> Events.write(events, :unsupported, message: message)
  end
end

fail = fn message, exit_code ->
  # The collector shows the last line of the log.
  IO.puts(:stderr, message)
  System.halt(exit_code)
end

case System.argv() do
  ["--describe"] ->
    IO.puts(describe.())

  [trial, events] ->
    try do
      run.(trial, events)
    rescue
      error ->
        IO.puts(:stderr, Exception.format_stacktrace(__STACKTRACE__))
        fail.(Exception.message(error), 1)
    end

  other ->
    fail.("run.exs: got #{length(other)} arguments; expected <trial.json> <events.jsonl> or --describe", 2)
end
