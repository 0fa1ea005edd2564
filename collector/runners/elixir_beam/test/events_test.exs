defmodule Deadheat.EventsTest do
  use ExUnit.Case, async: true
  doctest Deadheat.Events

  alias Deadheat.Events

  @moduletag :tmp_dir

  test "each event is a line that can be read while the file is still open", %{tmp_dir: folder} do
    path = Path.join(folder, "events.jsonl")
    events = Events.open!(path)
    Events.write(events, :run_start, at_ns: 5, unix_ns: 7, pid: 9)
    first = File.read!(path)
    Events.write(events, :chunk_stop, steps: 3)

    assert first == ~s({"kind": "run_start", "at_ns": 5, "unix_ns": 7, "pid": 9}\n)
    assert File.read!(path) =~ ~r/\A[^\n]+\n{"kind": "chunk_stop", "at_ns": \d+, "steps": 3}\n\z/
  end

  test "the clock runs on between events" do
    before = Events.now_ns()
    Process.sleep(20)

    assert_in_delta (Events.now_ns() - before) / 1.0e6, 20, 15
  end

  test "values are JSON: small floats, booleans, and text with quotes" do
    text = Events.encode(a: 1.0e-9, b: true, c: ~S(say "no" \ yes), d: ["cpu"])

    assert text == ~S({"a": 1.0e-9, "b": true, "c": "say \"no\" \\ yes", "d": ["cpu"]})
  end
end
