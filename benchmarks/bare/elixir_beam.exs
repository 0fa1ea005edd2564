# From naive to fast: the perceptron of the runner elixir_beam in steps that each add one change to the one before.
#
#     elixir benchmarks/bare/elixir_beam.exs TRIAL.JSON [ROUNDS]
#
# TRIAL.JSON is a trial of mode `steps` of at least 20 steps. Each step of the way is a fresh BEAM, pinned to one core
# (the last two to two), in turn for ROUNDS rounds (3); prints a table of milliseconds per image, the fastest round in
# each column. Everything but the changes themselves is the runner's own code.
[stage | arguments] =
  case System.argv() do
    ["--stage", stage | rest] -> [stage | rest]
    rest -> ["" | rest]
  end

runner = Path.expand("../../collector/runners/elixir_beam", __DIR__)
shared = Path.expand("../_elixir", runner)
blocks = "+MHmmbcs 524288 +MHsbct 524288"

stages = [
  {"enum", "", "`Enum.zip_with`, `Enum.sum` and `Enum.map` over lists of floats"},
  {"recursion", "", "recursive functions with an accumulator"},
  {"guards", "", "guards `is_float` on every operand, so that the JIT computes unboxed"},
  {"unrolled", "", "clauses unrolled over 16 list elements"},
  {"tuples", "", "vectors as lists of tuples of 16"},
  {"four", "", "one row of weights × four images, four terms of a sum at once"},
  {"heap", "", "heap of 64 MB, every collection a full sweep"},
  {"blocks", blocks, "heaps from a block that is kept (`+MHmmbcs`, `+MHsbct`)"},
  {"zeros", blocks, "units that are exactly zero left out of the backward pass: variant `default`"},
  {"batch", blocks, "two cores: the batch split by `Task.async_stream`, gradients added"},
  {"units", blocks, "two cores: the hidden units split, each process with its own weights: variant `parallel`"}
]

place = fn name -> Enum.find_index(stages, &(elem(&1, 0) == name)) end
at_least? = fn name -> place.(stage) >= place.(name) end

if stage == "" do
  [trial | rounds] = arguments
  rounds = String.to_integer(List.first(rounds) || "3")

  measured =
    for _ <- 1..rounds, {name, flags, _} <- stages, reduce: %{} do
      measured ->
        {count, cores} = if name in ["batch", "units"], do: {2, "0,1"}, else: {1, "0"}
        erl = "+S #{count}:#{count} +sbwt none +sbwtdcpu none +sbwtdio none #{flags}"
        command = ["-c", cores, System.find_executable("elixir"), "--erl", erl, __ENV__.file, "--stage", name, trial]
        {answer, 0} = System.cmd("taskset", command)
        Map.update(measured, name, [String.split(answer)], &[String.split(answer) | &1])
    end

  # Sums are added in another order from row to row; masks differ only where each half of a batch draws its own.
  losses = for {name, _, _} <- stages, name != "batch", [_, _, _, loss] <- measured[name], do: String.to_float(loss)

  if Enum.max(losses) - Enum.min(losses) > 1.0e-6 * Enum.max(losses),
    do: raise("losses after 20 steps: got #{Enum.min(losses)} to #{Enum.max(losses)}; expected one")

  IO.puts("| variant | first 20 steps | steps 11–20 | of it collecting garbage |\n|---|---:|---:|---:|")

  for {name, _, what} <- stages do
    columns = Enum.zip_with(measured[name], fn column -> column |> Enum.map(&String.to_float/1) |> Enum.min() end)
    times = columns |> Enum.take(3) |> Enum.map_join(" | ", &:erlang.float_to_binary(&1, decimals: 2))
    IO.puts("| #{what} | #{times} |")
  end

  System.halt(0)
end

for file <- ~w(gc trial npy idx schedule events), do: Code.require_file(file <> ".ex", shared)
for file <- ~w(runtime unroll), do: Code.require_file(file <> ".ex", runner)

defmodule Lists do
  # Vectors as plain lists, and what of the arithmetic is the same in all steps that have them.
  defmacro __using__(_) do
    quote do
      def from_list(floats), do: floats
      def to_list(vector, count), do: Enum.take(vector, count)
      def lookup(bytes, table), do: for(<<byte <- bytes>>, do: elem(table, byte))
      def affine(row, bias, vectors), do: Enum.map(vectors, &dot(row, &1, bias))
      def combine([a | factors], [x | vectors]), do: add(factors, vectors, scale(x, a))
      def combine_active(factors, vectors), do: combine(factors, vectors)
      defp add([], [], sum), do: sum
      defp add([a | factors], [x | vectors], sum), do: add(factors, vectors, axpy(x, sum, a))
    end
  end

  # A function for whole chunks of 16 elements of a list, and one for single elements of the rest.
  defmacro defchunks({name, _, [vectors | scalars]}, do: expression) do
    names = Enum.map(vectors, &elem(&1, 0))
    rest = for i <- 1..length(names), do: Macro.var(:"rest_#{i}", __MODULE__)

    for width <- [16, 1] do
      chunks = for name <- names, do: for(i <- 1..width, do: Macro.var(:"#{name}_#{i}", __MODULE__))
      heads = Enum.zip_with(chunks, rest, fn chunk, rest -> quote(do: [unquote_splicing(chunk) | unquote(rest)]) end)
      tests = for x <- List.flatten([chunks, scalars]), do: quote(do: is_float(unquote(x)))

      results =
        for elements <- Enum.zip_with(chunks, & &1) do
          Macro.prewalk(expression, fn
            {name, _, context} = x when is_atom(context) -> Enum.zip(names, elements) |> Keyword.get(name, x)
            other -> other
          end)
        end

      quote do
        def unquote(name)(unquote_splicing(heads), unquote_splicing(scalars))
            when unquote(Enum.reduce(tests, &quote(do: unquote(&2) and unquote(&1)))) do
          [unquote_splicing(results) | unquote(name)(unquote_splicing(rest), unquote_splicing(scalars))]
        end
      end
    end ++
      [
        quote do
          def unquote(name)(
                unquote_splicing(Enum.map(names, fn _ -> [] end)),
                unquote_splicing(Enum.map(scalars, fn _ -> quote(do: _) end))
              ),
              do: []
        end
      ]
  end

  defmacro defdot(name) do
    for width <- [16, 1] do
      [xs, ys] = for name <- [:x, :y], do: for(i <- 1..width, do: Macro.var(:"#{name}_#{i}", __MODULE__))
      tests = for x <- xs ++ ys, do: quote(do: is_float(unquote(x)))

      sum =
        Enum.zip_reduce(xs, ys, quote(do: sum), fn x, y, sum -> quote(do: unquote(sum) + unquote(x) * unquote(y)) end)

      quote do
        defp unquote(name)([unquote_splicing(xs) | x_rest], [unquote_splicing(ys) | y_rest], sum)
             when is_float(sum) and unquote(Enum.reduce(tests, &quote(do: unquote(&2) and unquote(&1)))) do
          unquote(name)(x_rest, y_rest, unquote(sum))
        end
      end
    end ++ [quote(do: defp(unquote(name)([], [], sum), do: sum))]
  end
end

case stage do
  "enum" ->
    defmodule ElixirBeam.Vector do
      use Lists
      def scale(x, a), do: Enum.map(x, &(a * &1))
      def mean_square(v, g, decay, rest), do: Enum.zip_with(v, g, &(decay * &1 + rest * (&2 * &2)))
      def root(v), do: Enum.map(v, &:math.sqrt/1)

      def adam_step(w, m, s, rate, epsilon),
        do: Enum.zip_with([w, m, s], fn [w, m, s] -> w - rate * m / (s + epsilon) end)

      defp dot(x, y, sum), do: Enum.sum(Enum.zip_with(x, y, &(&1 * &2))) + sum
      defp axpy(x, y, a), do: Enum.zip_with(x, y, &(a * &1 + &2))
    end

  "recursion" ->
    defmodule ElixirBeam.Vector do
      use Lists
      def scale([x | rest], a), do: [a * x | scale(rest, a)]
      def scale([], _), do: []

      def mean_square([v | vs], [g | gs], decay, rest),
        do: [decay * v + rest * (g * g) | mean_square(vs, gs, decay, rest)]

      def mean_square([], [], _, _), do: []
      def root([v | rest]), do: [:math.sqrt(v) | root(rest)]
      def root([]), do: []

      def adam_step([w | ws], [m | ms], [s | ss], rate, epsilon),
        do: [w - rate * m / (s + epsilon) | adam_step(ws, ms, ss, rate, epsilon)]

      def adam_step([], [], [], _, _), do: []
      defp dot([x | xs], [y | ys], sum), do: dot(xs, ys, sum + x * y)
      defp dot([], [], sum), do: sum
      defp axpy([x | xs], [y | ys], a), do: [a * x + y | axpy(xs, ys, a)]
      defp axpy([], [], _), do: []
    end

  "guards" ->
    defmodule ElixirBeam.Vector do
      use Lists
      defguardp floats(x, y, z) when is_float(x) and is_float(y) and is_float(z)
      def scale([x | rest], a) when floats(x, a, a), do: [a * x | scale(rest, a)]
      def scale([], _), do: []

      def mean_square([v | vs], [g | gs], decay, rest) when floats(v, g, decay) and is_float(rest),
        do: [decay * v + rest * (g * g) | mean_square(vs, gs, decay, rest)]

      def mean_square([], [], _, _), do: []
      def root([v | rest]) when is_float(v), do: [:math.sqrt(v) | root(rest)]
      def root([]), do: []

      def adam_step([w | ws], [m | ms], [s | ss], rate, epsilon) when floats(w, m, s) and floats(rate, epsilon, w),
        do: [w - rate * m / (s + epsilon) | adam_step(ws, ms, ss, rate, epsilon)]

      def adam_step([], [], [], _, _), do: []
      defp dot([x | xs], [y | ys], sum) when floats(x, y, sum), do: dot(xs, ys, sum + x * y)
      defp dot([], [], sum), do: sum
      defp axpy([x | xs], [y | ys], a) when floats(x, y, a), do: [a * x + y | axpy(xs, ys, a)]
      defp axpy([], [], _), do: []
    end

  "unrolled" ->
    defmodule ElixirBeam.Vector do
      use Lists
      import Lists
      defchunks(scale([x], a), do: a * x)
      defchunks(mean_square([v, g], decay, rest), do: decay * v + rest * (g * g))
      defchunks(root([v]), do: :math.sqrt(v))
      defchunks(adam_step([w, m, s], rate, epsilon), do: w - rate * m / (s + epsilon))
      defchunks(axpy([x, y], a), do: a * x + y)
      defdot(:dot)
    end

  "tuples" ->
    defmodule ElixirBeam.Vector do
      import ElixirBeam.Unroll

      def from_list(floats),
        do: floats |> Enum.chunk_every(16, 16, List.duplicate(0.0, 16)) |> Enum.map(&List.to_tuple/1)

      def to_list(vector, count), do: vector |> Enum.flat_map(&Tuple.to_list/1) |> Enum.take(count)
      deflookup(:lookup)
      def lookup(<<>>, _), do: []
      def lookup(bytes, table), do: from_list(for <<byte <- bytes>>, do: elem(table, byte))
      def affine(row, bias, vectors), do: Enum.map(vectors, &(row |> dot_one(&1, bias) |> elem(0)))
      defdots(:dot_one, 1)
      def combine([a | factors], [x | vectors]), do: add(factors, vectors, scale(x, a))
      def combine_active(factors, vectors), do: combine(factors, vectors)
      defp add([], [], sum), do: sum
      defp add([a | factors], [x | vectors], sum), do: add(factors, vectors, axpy(x, sum, a))
      defeach(scale([x], a), do: a * x)
      defeach(axpy([x, y], a), do: a * x + y)
      defeach(mean_square([v, g], decay, rest), do: decay * v + rest * (g * g))
      defeach(root([v]), do: :math.sqrt(v))
      defeach(adam_step([w, m, s], rate, epsilon), do: w - rate * m / (s + epsilon))
    end

  _ ->
    # The runner's own; before the step that leaves zeros out, without their test.
    source = File.read!(runner <> "/vector.ex")
    test = " when factor != 0.0"
    true = source =~ test
    source = if at_least?.("zeros"), do: source, else: String.replace(source, test, " when is_float(factor)")
    Code.compile_string(source, "vector.ex")
end

for file <- ~w(tensor data model optimizer setup share workers train), do: Code.require_file(file <> ".ex", runner)

defmodule Steps do
  alias Deadheat.{Gc, Trial}
  alias ElixirBeam.{Data, Model, Setup, Tensor, Train, Vector}

  def run(path, stage) do
    changes = if stage == "units", do: %{"variant" => "parallel", "threads" => 2}, else: %{"variant" => "default"}
    trial = path |> Trial.read!() |> Map.merge(changes)
    train = Data.read!(trial, "train")
    [[mean], [std]] = for key <- ["data.mean", "data.std"], do: Trial.floats!(trial, key)
    order = trial |> Data.read_order!() |> hd()

    setup = %Setup{
      trial: trial,
      train: train,
      test: train,
      order: [order],
      palette: Data.palette(mean, std),
      parameters: trial |> Trial.text!("weights") |> Model.read!() |> Model.new()
    }

    step = if stage == "batch", do: &by_halves/3, else: &Train.step/3
    rate = Trial.float!(trial, "model.dropout_rate")
    scratch = Train.initial_state(setup, rate)
    step.(scratch, setup, hd(order))
    Train.stop(scratch)

    state = Train.initial_state(setup, rate)
    {first, second} = order |> Enum.take(20) |> Enum.split(10)
    start_ns = now()
    state = advance(step, state, setup, first)
    middle_ns = now()
    state = advance(step, state, setup, second)
    end_ns = now()
    collecting_ns = Gc.seconds() * 1.0e9

    # All ways compute the same: the loss after these steps says so.
    {loss, _, _} = Train.loss(state, setup, hd(order))
    images = 20 * length(hd(order))
    times_ns = [end_ns - start_ns, 2 * (end_ns - middle_ns), collecting_ns]
    IO.puts(Enum.map_join(times_ns ++ [loss * images * 1.0e6], " ", &Float.to_string(&1 / 1.0e6 / images)))
  end

  defp advance(step, %{hidden: %module{}} = state, setup, batches) do
    state = Enum.reduce(batches, state, fn indices, state -> state |> step.(setup, indices) |> elem(0) end)
    module.synchronise(state.hidden)
    state
  end

  # What one writes first: the same weights go to each process, and a gradient of all weights comes back from each.
  defp by_halves(state, setup, indices) do
    parameters = Train.parameters(state)

    [{one, _}, {other, dropout}] =
      indices
      |> Enum.chunk_every(div(length(indices), 2))
      |> Task.async_stream(&gradient(parameters, setup, &1, state.dropout), ordered: true, timeout: :infinity)
      |> Enum.map(fn {:ok, answer} -> answer end)

    gradient = Map.new(one, fn {name, tensor} -> {name, mean(tensor, other[name])} end)
    {Train.update(%{state | dropout: dropout}, gradient), 0.0}
  end

  defp gradient(parameters, setup, indices, dropout) do
    for {flag, value} <- ElixirBeam.Runtime.heap(2), do: Process.flag(flag, value)
    images = Data.images(setup.train, setup.palette, indices)
    labels = Data.labels(setup.train, indices)
    {above, pulls, _, dropout} = Model.gradient_above(parameters, Model.outputs(parameters, images), labels, dropout)
    {Map.merge(above, Model.gradient_below(parameters, pulls, images)), dropout}
  end

  defp mean(one, other), do: Tensor.map([one, other], fn rows -> Vector.combine([0.5, 0.5], rows) end)
  defp now, do: :os.perf_counter(:nanosecond)
end

if at_least?.("heap"), do: ElixirBeam.Runtime.prepare(), else: Deadheat.Gc.start()
Steps.run(hd(arguments), stage)
