# elixir run.exs <trial.json> <events.jsonl>    train, time or prove
# elixir run.exs --describe                     print the versions
started = [
  at_ns: :os.perf_counter(:nanosecond),
  unix_ns: :os.system_time(:nanosecond),
  pid: String.to_integer(System.pid())
]

# The collector notes when each event arrives, so run_start is written before the rest is compiled.
shared = Path.expand("../_elixir", __DIR__)
Code.require_file("events.ex", shared)
alias Deadheat.Events

require_all = fn ->
  for file <- ~w(trial npy idx), do: Code.require_file(file <> ".ex", shared)

  for file <- ~w(unroll vector tensor data model optimizer setup train gate) do
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
  events = Events.open!(events_path)
  Events.write(events, :run_start, started)
  require_all.()
  Events.write(events, :import_stop)
  trial = Deadheat.Trial.read!(trial_path)

  case {ElixirBeam.Setup.obstacle(trial), trial["mode"]} do
    {nil, "gate"} -> trial |> ElixirBeam.Setup.prepare!(events) |> ElixirBeam.Gate.run(events)
    {nil, _} -> trial |> ElixirBeam.Setup.prepare!(events) |> ElixirBeam.Train.run(events)
    {message, _} -> Events.write(events, :unsupported, message: message)
  end
end

case System.argv() do
  ["--describe"] ->
    IO.puts(describe.())

  [trial, events] ->
    run.(trial, events)

  _ ->
    IO.puts(
      :stderr,
      "run.exs: got #{length(System.argv())} arguments; expected <trial.json> <events.jsonl> or --describe"
    )

    System.halt(2)
end
