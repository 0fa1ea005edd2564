defmodule Deadheat.Events do
  @moduledoc """
  Writes the events of a run: one JSON object a line, handed to the system before the call returns.
  """

  @opaque t :: :file.fd()
  @type value :: number | boolean | String.t()

  @doc "Nanoseconds on the runner's monotonic clock."
  @spec now_ns() :: integer
  def now_ns, do: :os.perf_counter(:nanosecond)

  @doc "Opens the file for appending. Only the process that opened it may write events."
  @spec open!(Path.t()) :: t
  def open!(path) do
    # Raw: every write is one write(2), with no process and no buffer in between.
    {:ok, file} = :file.open(path, [:append, :raw])
    file
  end

  @doc "Writes one event. `at_ns` is now, unless `fields` say otherwise."
  @spec write(t, atom, [{atom, value}]) :: :ok
  def write(events, kind, fields \\ []) do
    at_ns = Keyword.get_lazy(fields, :at_ns, &now_ns/0)
    :ok = IO.binwrite(events, encode([kind: to_string(kind), at_ns: at_ns] ++ Keyword.delete(fields, :at_ns)) <> "\n")
  end

  @doc ~S"""
  One JSON object of scalars.

      iex> Deadheat.Events.encode(kind: "epoch_start", at_ns: 5, epoch: 0.25)
      ~S({"kind": "epoch_start", "at_ns": 5, "epoch": 0.25})
  """
  @spec encode([{atom, value | [value]}]) :: String.t()
  def encode(fields) do
    "{" <> Enum.map_join(fields, ", ", fn {key, value} -> ~s("#{key}": ) <> encode_value(value) end) <> "}"
  end

  defp encode_value(value) when is_number(value) or is_boolean(value), do: to_string(value)
  defp encode_value(values) when is_list(values), do: "[" <> Enum.map_join(values, ", ", &encode_value/1) <> "]"
  defp encode_value(text) when is_binary(text), do: ~s(") <> escape(text) <> ~s(")

  defp escape(text) do
    text
    |> String.replace("\\", "\\\\")
    |> String.replace("\"", "\\\"")
    |> String.replace(~r/[\x00-\x1f]/, " ")
  end
end
