defmodule Deadheat.Schedule do
  @moduledoc """
  Where epochs are cut into pairs, and pairs into chunks; and the learning rate of each epoch. Arithmetic only.
  """

  alias Deadheat.Trial

  @typedoc """
  One epoch pair: the row of `order` it reads, its end in epochs, its batches as `{first example, examples}`, and
  after which steps a chunk ends.
  """
  @type pair :: %{row: non_neg_integer, epoch: float, batches: [batch], stops: [pos_integer]}

  @type batch :: {non_neg_integer, pos_integer}

  @doc "Why the epochs of so many examples cannot be cut as the trial asks, or nil."
  @spec uncut(Trial.t(), pos_integer) :: String.t() | nil
  def uncut(trial, examples) do
    batches = ceil(examples / Trial.integer!(trial, "batch_size"))
    parts = Trial.integer!(trial, "evaluations_per_epoch")
    if parts > batches, do: "evaluations_per_epoch is #{parts}; expected at most #{batches}, the batches of an epoch"
  end

  @doc "The pairs of `epochs` epochs of `examples` examples each, in order."
  @spec pairs(Trial.t(), pos_integer, pos_integer) :: [pair]
  def pairs(trial, epochs, examples) do
    # Modes steps and infer have no evaluations: their one epoch is one interval.
    intervals = max(1, Trial.integer!(trial, "evaluations_per_epoch"))
    chunks = max(1, div(Trial.integer!(trial, "chunks_per_epoch"), intervals))
    parts = examples |> batches(Trial.integer!(trial, "batch_size")) |> cut(intervals)

    for row <- 0..(epochs - 1), {part, k} <- Enum.with_index(parts, 1) do
      %{row: row, epoch: row + k / intervals, batches: part, stops: stops(length(part), chunks)}
    end
  end

  @doc """
  Where each batch of an epoch begins, and its examples; the last one may be smaller.

      iex> Deadheat.Schedule.batches(10, 4)
      [{0, 4}, {4, 4}, {8, 2}]
  """
  @spec batches(pos_integer, pos_integer) :: [batch]
  def batches(examples, size), do: for(first <- 0..(examples - 1)//size, do: {first, min(size, examples - first)})

  @doc """
  Cuts a list into parts that differ by one element at most.

      iex> Deadheat.Schedule.cut([1, 2, 3, 4, 5], 2)
      [[1, 2], [3, 4, 5]]
  """
  @spec cut([element], pos_integer) :: [[element]] when element: term
  def cut(list, parts) do
    n = length(list)
    edges = Enum.map(0..parts, &div(n * &1, parts))
    Enum.zip_with(edges, tl(edges), fn from, to -> Enum.slice(list, from, to - from) end)
  end

  @doc """
  After which steps a chunk ends, without chunks of no steps.

      iex> Deadheat.Schedule.stops(7, 3)
      [2, 4, 7]
  """
  @spec stops(pos_integer, pos_integer) :: [pos_integer]
  def stops(steps, chunks),
    do: for(c <- 1..chunks, do: div(steps * c, chunks)) |> Enum.reject(&(&1 == 0)) |> Enum.uniq()

  @doc "The learning rate during epoch `row`, counted from 0."
  @spec learning_rate(Trial.t(), non_neg_integer) :: float
  def learning_rate(trial, row) do
    rate = Trial.float!(trial, "optimizer.learning_rate")

    case Trial.text!(trial, "optimizer.schedule") do
      "constant" -> rate
      "cosine" -> rate * (1 + :math.cos(:math.pi() * row / Trial.integer!(trial, "optimizer.schedule_epochs"))) / 2
    end
  end
end
