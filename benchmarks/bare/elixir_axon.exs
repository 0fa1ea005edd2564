# A training loop in Axon as one writes it by hand for one model on one CPU: what deadheat's runner is held to.
#
#     elixir benchmarks/bare/elixir_axon.exs TRIAL.JSON
#
# Trains the model (mlp or lenet5) of a trial of mode `steps` on its data, weights and order, with the backend that its
# variant names: by `Axon.Loop`, as Axon's own example mnist.exs does, where the variant ends in `_loop`, else by one
# `defn` step that is compiled once. Prints seconds in all, the fastest twentieth times twenty, and the mean loss.
# Nothing of deadheat is used but the files that it wrote. Elixir 1.18 or newer, for its JSON.
build = System.get_env("MIX_BUILD_PATH") || Path.expand("../../.toolchains/elixir_axon/build", __DIR__)
for place <- [build, build <> "/prod"], path <- Path.wildcard(place <> "/lib/*/ebin"), do: Code.append_path(path)

defmodule Bare do
  import Nx.Defn

  @chunks 20

  def main(path) do
    trial = path |> File.read!() |> JSON.decode!()
    [backend | form] = String.split(trial["variant"], "_")
    start(backend)
    trial = Map.put(trial, "channels", if(backend == "torchx", do: :first, else: :last))

    {images, labels} = read_data(trial)
    model = model(trial)
    batches = read_order(trial)
    train = if form == ["loop"], do: &by_loop/5, else: &by_step/5
    {edges_ns, loss} = train.(trial, model, images, labels, batches)

    chunks_ns = Enum.zip_with(tl(edges_ns), edges_ns, &(&1 - &2))
    :io.format("~.4f ~.4f ~.6f~n", [Enum.sum(chunks_ns) / 1.0e9, @chunks * Enum.min(chunks_ns) / 1.0e9, loss])
  end

  # As deadheat has it: on this machine's CPU, wherever a GPU is, and in float32.
  defp start("exla"),
    do: start(:exla, {EXLA.Backend, client: :host}, compiler: EXLA, client: :host, precision: :highest)

  defp start("torchx"), do: start(:torchx, Torchx.Backend, compiler: Nx.Defn.Evaluator)

  defp start("emlx") do
    # MLX looks for a compiler, and so for its fused kernels, only where a child's end is told (documentation of EMLX).
    :os.set_signal(:sigchld, :default)
    start(:emlx, {EMLX.Backend, device: :cpu}, compiler: EMLX, device: :cpu)
  end

  defp start(app, backend, compiler) do
    {:ok, _} = Application.ensure_all_started([:nx, app])
    Nx.global_default_backend(backend)
    Nx.Defn.global_default_options(compiler)
  end

  # One `defn` step, compiled once.
  defp by_step(trial, model, images, labels, batches) do
    {init_fn, predict_fn} = Axon.build(model, mode: :train)
    {init_optimizer_fn, update_fn} = optimizer(trial)
    model_state = Nx.Defn.jit_apply(init_fn, [images[0..0], Axon.ModelState.new(read_weights(trial))])
    optimizer_state = Nx.Defn.jit_apply(init_optimizer_fn, [Axon.ModelState.trainable_parameters(model_state)])
    state = {model_state, optimizer_state, Nx.tensor(0.0)}

    step =
      Nx.Defn.compile(&step(&1, &2, &3, &4, predict_fn, update_fn), [state, images, labels, Nx.to_template(hd(batches))])

    wait(step.(state, images, labels, hd(batches)))

    {edges_ns, {_, _, loss_sum}} =
      batches
      |> chunks()
      |> Enum.reduce({[now()], state}, fn chunk, {edges, state} ->
        state = Enum.reduce(chunk, state, &step.(&2, images, labels, &1))
        wait(state)
        {[now() | edges], state}
      end)

    {Enum.reverse(edges_ns), Nx.to_number(loss_sum) / length(batches)}
  end

  defn step({model_state, optimizer_state, loss_sum}, images, labels, batch, predict_fn, update_fn) do
    {inputs, targets} = {Nx.take(images, batch), Nx.take(labels, batch)}
    parameters = trainable(model_state)

    {{loss, statistics}, gradient} =
      value_and_grad(
        parameters,
        fn parameters ->
          %{prediction: logits, state: statistics} = predict_fn.(updated(model_state, parameters, %{}), inputs)
          {loss(targets, logits), statistics}
        end,
        &elem(&1, 0)
      )

    {updates, optimizer_state} = update_fn.(gradient, optimizer_state, parameters)
    parameters = Polaris.Updates.apply_updates(parameters, updates)
    {updated(model_state, parameters, statistics), optimizer_state, loss_sum + loss}
  end

  # As Axon's examples do it.
  defp by_loop(trial, model, images, labels, batches) do
    data = Stream.map(batches, &{Nx.take(images, &1), Nx.take(labels, &1)})
    weights = Axon.ModelState.new(read_weights(trial))
    loop = Axon.Loop.trainer(model, &loss/2, optimizer(trial), log: 0)
    Axon.Loop.run(loop, Enum.take(data, 1), weights)

    note = fn %Axon.Loop.State{step_state: step_state} = state ->
      wait({step_state.model_state, step_state.optimizer_state, step_state.loss})
      send(self(), {:edge_ns, now()})
      {:continue, state}
    end

    count = length(batches)
    stops = for c <- 1..@chunks, do: div(count * c, @chunks)
    start_ns = now()

    state =
      loop
      |> Axon.Loop.handle_event(:iteration_completed, note, fn state, _ -> (state.iteration + 1) in stops end)
      |> Map.put(:output_transform, & &1)
      |> Axon.Loop.run(data, weights)

    edges_ns = for _ <- stops, do: receive(do: ({:edge_ns, at_ns} -> at_ns))
    {[start_ns | edges_ns], Nx.to_number(state.step_state.loss)}
  end

  # MLX computes what is read, when it is read.
  defp wait({model_state, optimizer_state, loss}) do
    with %Nx.Tensor{data: %{__struct__: EMLX.Backend}} <- loss do
      Nx.Defn.Composite.reduce({model_state, optimizer_state}, nil, fn %{data: %{ref: ref}}, _ ->
        apply(EMLX, :eval, [ref])
      end)
    end

    Nx.to_number(loss)
  end

  defp chunks(batches) do
    count = length(batches)
    for c <- 1..@chunks, do: Enum.slice(batches, div(count * (c - 1), @chunks)..(div(count * c, @chunks) - 1)//1)
  end

  defp now, do: :os.perf_counter(:nanosecond)

  deftransformp(trainable(model_state), do: Axon.ModelState.trainable_parameters(model_state))
  deftransformp(updated(state, parameters, statistics), do: Axon.ModelState.update(state, parameters, statistics))

  defn loss(targets, logits) do
    Axon.Losses.categorical_cross_entropy(targets, logits, from_logits: true, sparse: true, reduction: :mean)
  end

  defp optimizer(%{"optimizer" => "adam"} = trial) do
    # MNIST's perceptron has no weight decay.
    [b1, b2, eps] = for name <- ~w(beta1 beta2 epsilon), do: trial["optimizer.#{name}"]
    Polaris.Optimizers.adam(learning_rate: trial["optimizer.learning_rate"], b1: b1, b2: b2, eps: eps, eps_root: 0.0)
  end

  defp optimizer(%{"optimizer" => "sgd"} = trial) do
    Polaris.Updates.add_decayed_weights(decay: trial["optimizer.weight_decay"])
    |> Polaris.Updates.trace(decay: trial["optimizer.momentum"])
    |> Polaris.Updates.scale(-trial["optimizer.learning_rate"])
  end

  defp model(%{"model" => "mlp"} = trial) do
    Axon.input("images", shape: {nil, 784})
    |> Axon.dense(trial["model.hidden_units"], name: "hidden", activation: :relu)
    |> Axon.dropout(rate: trial["model.dropout_rate"], seed: trial["seed"])
    |> Axon.dense(10, name: "output")
  end

  defp model(%{"model" => "lenet5", "channels" => channels}) do
    Axon.input("images", shape: if(channels == :first, do: {nil, 1, 28, 28}, else: {nil, 28, 28, 1}))
    |> Axon.conv(6, name: "conv1", kernel_size: 5, activation: :relu, channels: channels)
    |> max_pool(channels)
    |> Axon.conv(16, name: "conv2", kernel_size: 5, activation: :relu, channels: channels)
    |> max_pool(channels)
    |> Axon.flatten()
    |> Axon.dense(120, name: "dense1", activation: :relu)
    |> Axon.dense(84, name: "dense2", activation: :relu)
    |> Axon.dense(10, name: "dense3")
  end

  defp max_pool(x, :last), do: Axon.max_pool(x, kernel_size: 2, strides: 2)

  # Torchx has no gradient of a window's maximum.
  defp max_pool(x, :first) do
    Axon.nx(x, fn x ->
      {examples, channels, height, width} = Nx.shape(x)
      x |> Nx.reshape({examples, channels, div(height, 2), 2, div(width, 2), 2}) |> Nx.reduce_max(axes: [3, 5])
    end)
  end

  defp read_weights(%{"weights" => folder} = trial) do
    for path <- Path.wildcard(folder <> "/*.npy"), reduce: %{} do
      layers ->
        [layer, parameter, _] = path |> Path.basename() |> String.split(".")
        key = if parameter == "weight", do: "kernel", else: "bias"
        tensor = to_axon(read_npy(path), layer, trial["channels"])
        Map.update(layers, layer, %{key => tensor}, &Map.put(&1, key, tensor))
    end
  end

  defp to_axon(tensor, layer, channels) do
    case {Nx.shape(tensor), channels, layer} do
      {{_, _, _, _}, :last, _} -> Nx.transpose(tensor, axes: [2, 3, 1, 0])
      {{120, 256}, :last, "dense1"} -> tensor |> Nx.reshape({120, 16, 16}) |> Nx.transpose() |> Nx.reshape({256, 120})
      {{_, _}, _, _} -> Nx.transpose(tensor)
      _ -> tensor
    end
  end

  defp read_order(%{"order" => path, "batch_size" => size}) do
    path |> read_npy() |> Nx.flatten() |> Nx.to_batched(size) |> Enum.to_list()
  end

  defp read_npy(path) do
    <<_::binary-size(8), size::little-16, header::binary-size(size), data::binary>> = File.read!(path)
    [shape] = Regex.run(~r/\(([\d, ]*)\)/, header, capture: :all_but_first)
    shape = for number <- String.split(shape, [",", " "], trim: true), do: String.to_integer(number)
    data |> Nx.from_binary(if(header =~ "<i4", do: :s32, else: :f32)) |> Nx.reshape(List.to_tuple(shape))
  end

  defp read_data(trial) do
    <<_::binary-size(16), pixels::binary>> = File.read!(trial["data.train_images"])
    <<_::binary-size(8), labels::binary>> = File.read!(trial["data.train_labels"])

    shape =
      case {trial["model"], trial["channels"]} do
        {"mlp", _} -> {:auto, 784}
        {_, :first} -> {:auto, 1, 28, 28}
        {_, :last} -> {:auto, 28, 28, 1}
      end

    [mean] = trial["data.mean"]
    [std] = trial["data.std"]
    images = pixels |> Nx.from_binary(:u8) |> Nx.divide(255) |> Nx.subtract(mean) |> Nx.divide(std) |> Nx.reshape(shape)
    {images, labels |> Nx.from_binary(:u8) |> Nx.as_type(:s32) |> Nx.new_axis(1)}
  end
end

Bare.main(hd(System.argv()))
