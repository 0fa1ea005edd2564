defmodule ElixirAxon.Model do
  @moduledoc """
  The models of the contract (§5) in Axon. To add one: its name in `known/0`, a clause of `layers/3` and one of
  `flattened/2`.
  """

  alias Deadheat.Trial

  @typedoc "What a model is built with beside its trial."
  @type setting :: %{channels: :first | :last, pool: :window | :reshape, dropout_rate: float, classes: pos_integer}

  @doc "Names of the models."
  @spec known() :: [String.t()]
  def known, do: ~w(mlp lenet5 cnn keras_cnn resnet18 resnet50)

  @doc "Why the model of a trial is not here, or nil."
  @spec obstacle(Trial.t()) :: String.t() | nil
  def obstacle(trial) do
    name = Trial.text!(trial, "model")
    unless name in known(), do: "model is #{name}; this runner knows #{Enum.join(known(), ", ")}"
  end

  @doc "The model of a trial, from images of `image_shape` to logits."
  @spec build(Trial.t(), setting, tuple) :: Axon.t()
  def build(trial, setting, image_shape) do
    images = Axon.input("images", shape: Tuple.insert_at(image_shape, 0, nil))
    layers(Trial.text!(trial, "model"), images, Map.put(setting, :trial, trial))
  end

  @doc "The dense layer that reads a flattened image, and the channels of that: where they stand last, its rows are moved."
  @spec flattened(String.t(), pos_integer) :: {String.t(), pos_integer} | nil
  def flattened("mlp", image_channels), do: {"hidden", image_channels}
  def flattened("lenet5", _), do: {"dense1", 16}
  def flattened("cnn", _), do: {"hidden", 64}
  def flattened("keras_cnn", _), do: {"output", 64}
  # Averaged to one pixel, not flattened.
  def flattened("resnet" <> _, _), do: nil

  defp layers("mlp", images, %{trial: trial} = setting) do
    units = Trial.integer!(trial, "model.hidden_units")
    names = Enum.take(["hidden", "hidden2"], Trial.integer!(trial, "model.hidden_layers"))

    names
    |> Enum.reduce(Axon.flatten(images), &Axon.dense(&2, units, name: &1, activation: :relu))
    |> dropout(setting)
    |> Axon.dense(setting.classes, name: "output")
  end

  defp layers("lenet5", images, setting) do
    images
    |> conv("conv1", 6, 5, setting)
    |> Axon.relu()
    |> max_pool(setting)
    |> conv("conv2", 16, 5, setting)
    |> Axon.relu()
    |> max_pool(setting)
    |> Axon.flatten()
    |> Axon.dense(120, name: "dense1", activation: :relu)
    |> Axon.dense(84, name: "dense2", activation: :relu)
    |> Axon.dense(setting.classes, name: "dense3")
  end

  defp layers("cnn", images, %{trial: trial} = setting) do
    norm = if trial["model.batch_norm"], do: &batch_norm(&1, &2, setting), else: fn x, _name -> x end

    images
    |> conv("conv1", 32, 3, setting)
    |> Axon.relu()
    |> norm.("norm1")
    |> max_pool(setting)
    |> conv("conv2", 64, 3, setting)
    |> Axon.relu()
    |> norm.("norm2")
    |> max_pool(setting)
    |> Axon.flatten()
    |> Axon.dense(64, name: "hidden", activation: :relu)
    |> dropout(setting)
    |> Axon.dense(setting.classes, name: "output")
  end

  defp layers("keras_cnn", images, setting) do
    images
    |> conv("conv1", 32, 3, setting)
    |> Axon.relu()
    |> max_pool(setting)
    |> conv("conv2", 64, 3, setting)
    |> Axon.relu()
    |> max_pool(setting)
    |> Axon.flatten()
    |> dropout(setting)
    |> Axon.dense(setting.classes, name: "output")
  end

  defp layers("resnet18", images, setting), do: resnet(images, &basic_block/4, [2, 2, 2, 2], setting)
  defp layers("resnet50", images, setting), do: resnet(images, &bottleneck_block/4, [3, 4, 6, 3], setting)

  defp resnet(images, block, depths, setting) do
    blocks =
      for {depth, stage} <- Enum.with_index(depths, 1), number <- 1..depth do
        stride = if stage > 1 and number == 1, do: 2, else: 1
        %{name: "s#{stage}b#{number}_", width: 64 * 2 ** (stage - 1), stride: stride, first: number == 1, stage: stage}
      end

    blocks
    |> Enum.reduce(stem(images, setting), fn place, x -> block.(x, place, place.name, setting) end)
    |> Axon.global_avg_pool(channels: setting.channels)
    |> Axon.dense(setting.classes, name: "output")
  end

  defp stem(images, %{trial: trial} = setting) do
    case Trial.text!(trial, "model.stem") do
      "cifar" ->
        images |> conv_norm("stem", "stem_norm", 64, 3, 1, setting) |> Axon.relu()

      "imagenet" ->
        images
        |> conv_norm("stem", "stem_norm", 64, 7, 2, setting)
        |> Axon.relu()
        |> Axon.max_pool(kernel_size: 3, strides: 2, padding: padding(3), channels: setting.channels)
    end
  end

  defp basic_block(x, %{width: width, stride: stride} = place, name, setting) do
    inner =
      x
      |> conv_norm(name <> "conv1", name <> "norm1", width, 3, stride, setting)
      |> Axon.relu()
      |> conv_norm(name <> "conv2", name <> "norm2", width, 3, 1, setting)

    # Stage 1 begins with the stem's own 64 channels: its shortcut is the input.
    x |> shortcut(place.first and place.stage > 1, width, place, setting) |> add(inner)
  end

  defp bottleneck_block(x, %{width: width, stride: stride} = place, name, setting) do
    inner =
      x
      |> conv_norm(name <> "conv1", name <> "norm1", width, 1, 1, setting)
      |> Axon.relu()
      |> conv_norm(name <> "conv2", name <> "norm2", width, 3, stride, setting)
      |> Axon.relu()
      |> conv_norm(name <> "conv3", name <> "norm3", 4 * width, 1, 1, setting)

    x |> shortcut(place.first, 4 * width, place, setting) |> add(inner)
  end

  # The shortcut stands first. A layer that is met a second time hands back the running statistics of the first time,
  # and with them drops those of whatever stood before it in the sum (Axon 0.8.1).
  defp add(shortcut, inner), do: shortcut |> Axon.add(inner) |> Axon.relu()

  defp shortcut(x, false, _channels, _place, _setting), do: x

  defp shortcut(x, true, channels, %{name: name, stride: stride}, setting),
    do: conv_norm(x, name <> "skip", name <> "skip_norm", channels, 1, stride, setting)

  # A convolution of a residual network: no bias, and padding that keeps the size.
  defp conv_norm(x, name, norm_name, channels, size, stride, setting) do
    x
    |> Axon.conv(channels,
      name: name,
      kernel_size: size,
      strides: stride,
      padding: padding(size),
      use_bias: false,
      channels: setting.channels
    )
    |> batch_norm(norm_name, setting)
  end

  defp conv(x, name, channels, size, setting) do
    Axon.conv(x, channels,
      name: name,
      kernel_size: size,
      strides: 1,
      padding: :valid,
      use_bias: true,
      channels: setting.channels
    )
  end

  # Axon's momentum is the weight of what was there before: `running = momentum * running + (1 - momentum) * batch`.
  defp batch_norm(x, name, %{trial: trial} = setting) do
    Axon.batch_norm(x,
      name: name,
      epsilon: Trial.float!(trial, "model.norm_epsilon"),
      momentum: 1 - Trial.float!(trial, "model.norm_momentum"),
      channel_index: if(setting.channels == :first, do: 1, else: -1)
    )
  end

  @doc "The maximum of each 2 × 2 window, without an odd last row or column."
  @spec max_pool(Axon.t(), setting) :: Axon.t()
  def max_pool(x, setting)

  def max_pool(x, %{pool: :window, channels: channels}),
    do: Axon.max_pool(x, kernel_size: 2, strides: 2, padding: :valid, channels: channels)

  def max_pool(x, %{pool: :reshape, channels: :first}), do: Axon.nx(x, &largest_of_four/1, op_name: :max_pool)

  # Channels first: height and width are split into windows of two, of which the largest is taken.
  defp largest_of_four(x) do
    {examples, channels, height, width} = Nx.shape(x)

    x
    |> without_odd_edge(2, height)
    |> without_odd_edge(3, width)
    |> Nx.reshape({examples, channels, div(height, 2), 2, div(width, 2), 2})
    |> Nx.reduce_max(axes: [3, 5])
  end

  # A slice of everything would be computed, and its gradient too.
  defp without_odd_edge(x, _axis, size) when rem(size, 2) == 0, do: x
  defp without_odd_edge(x, axis, size), do: Nx.slice_along_axis(x, 0, size - 1, axis: axis)

  # A layer that drops nothing would still draw its mask.
  defp dropout(x, %{dropout_rate: rate}) when rate == 0, do: x

  defp dropout(x, %{dropout_rate: rate, trial: trial}),
    do: Axon.dropout(x, name: "dropout", rate: rate, seed: Trial.integer!(trial, "seed"))

  defp padding(size), do: List.duplicate({div(size - 1, 2), div(size - 1, 2)}, 2)
end
