defmodule Deadheat.Trial do
  @moduledoc """
  Reads a trial: one flat JSON object with a key on each line and no escapes in strings,
  so that a page of code is enough where the standard library has no JSON.
  """

  @type value :: number | boolean | String.t() | [value]
  @type t :: %{String.t() => value}

  @doc "Reads the trial at `path`."
  @spec read!(Path.t()) :: t
  def read!(path), do: path |> File.read!() |> parse(path)

  @doc ~S"""
  The trial written in `text`; `where` names it in errors.

      iex> Deadheat.Trial.parse("{\n\"mode\": \"steps\",\n\"optimizer.epsilon\": 1e-08\n}\n")
      %{"mode" => "steps", "optimizer.epsilon" => 1.0e-8}
  """
  @spec parse(String.t(), Path.t()) :: t
  def parse(text, where \\ "trial.json") do
    text
    |> String.split("\n")
    |> Enum.with_index(1)
    |> Enum.map(fn {line, number} -> {String.trim(line), "#{where} line #{number}"} end)
    |> Enum.reject(fn {line, _} -> line in ["", "{", "}"] end)
    |> Map.new(fn {line, place} -> parse_line(line, place) end)
  end

  @doc "The whole number under `key`."
  @spec integer!(t, String.t()) :: integer
  def integer!(trial, key), do: fetch!(trial, key, &is_integer/1, "a whole number")

  @doc "The number under `key` as a float: JSON may write 0.0 as 0."
  @spec float!(t, String.t()) :: float
  def float!(trial, key), do: fetch!(trial, key, &is_number/1, "a number") * 1.0

  @doc "The list of numbers under `key`, as floats."
  @spec floats!(t, String.t()) :: [float]
  def floats!(trial, key), do: trial |> fetch!(key, &numbers?/1, "a list of numbers") |> Enum.map(&(&1 * 1.0))

  @doc "The text under `key`."
  @spec text!(t, String.t()) :: String.t()
  def text!(trial, key), do: fetch!(trial, key, &is_binary/1, "a string")

  defp numbers?(value), do: is_list(value) and Enum.all?(value, &is_number/1)

  defp fetch!(trial, key, fits?, expected) do
    value = Map.get(trial, key)

    if fits?.(value) do
      value
    else
      raise ArgumentError, "trial: #{key}: got #{inspect(value)}; expected #{expected}. Write the key into trial.json."
    end
  end

  defp parse_line(line, place) do
    with [_, key, text] <- Regex.run(~r/^"([^"]+)"\s*:\s*(.+?),?$/u, line),
         {:ok, value} <- parse_value(text) do
      {key, value}
    else
      _ ->
        raise ArgumentError,
              "#{place}: got #{inspect(line)}; expected one key and a number, a boolean, a string or a list. " <>
                "Write one key per line, without escapes."
    end
  end

  defp parse_value("true"), do: {:ok, true}
  defp parse_value("false"), do: {:ok, false}
  defp parse_value("\"" <> rest), do: parse_text(rest)
  defp parse_value("[" <> rest), do: rest |> String.trim_trailing("]") |> parse_list()
  defp parse_value(text), do: parse_number(text)

  defp parse_text(rest) do
    case String.split(rest, "\"") do
      [text, ""] -> {:ok, text}
      _ -> :error
    end
  end

  defp parse_list(text) do
    # A comma with an odd number of quotes behind it stands inside a string.
    parts = Regex.split(~r/,(?=(?:[^"]*"[^"]*")*[^"]*$)/, text, trim: true)
    values = Enum.map(parts, &parse_value(String.trim(&1)))
    if :error in values, do: :error, else: {:ok, Enum.map(values, fn {:ok, value} -> value end)}
  end

  defp parse_number(text) do
    case {Integer.parse(text), Float.parse(text)} do
      {{integer, ""}, _} -> {:ok, integer}
      {_, {float, ""}} -> {:ok, float}
      _ -> :error
    end
  end
end
