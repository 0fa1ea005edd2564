# The models of the contract (§5) as Lux chains. Layers carry the names of the contract, and so do their parameters.
#
# To add a model: a function that returns a chain; and its line in MODELS.
#
# Convolutions of the contract are cross-correlations; Lux's flip their kernel unless told otherwise.

using Lux: BatchNorm, Chain, Conv, Dense, Dropout, FlattenLayer, GlobalMeanPool, MaxPool, NoOpLayer, Parallel
using Lux: WrappedFunction, relu

residual_network(name) = (trial, shape, _) ->
    resnet(name, text(trial, "model.stem"), shape[3], classes(trial), norm_of(trial))

"Every model by its name: a function of the trial, the shape of images (width × height × channels), the dropout rate."
const MODELS = Dict(
    "mlp" => (trial, shape, rate) -> mlp(
        prod(shape), integer(trial, "model.hidden_units"), integer(trial, "model.hidden_layers"), classes(trial), rate),
    "lenet5" => (trial, shape, _) -> lenet5(shape[3], classes(trial)),
    "cnn" => (trial, shape, rate) ->
        cnn(shape, classes(trial), rate, trial["model.batch_norm"] ? norm_of(trial) : no_norm),
    "keras_cnn" => (trial, shape, rate) -> keras_cnn(shape, classes(trial), rate),
    "resnet18" => residual_network("resnet18"),
    "resnet50" => residual_network("resnet50"),
)
push!(SUPPORTED, "model" => sort!(collect(keys(MODELS))))

"Return the chain of `trial` for images of `shape`."
build_model(trial::Trial, shape, dropout_rate::Float64) = MODELS[text(trial, "model")](trial, shape, dropout_rate)

classes(trial::Trial) = integer(trial, "data.classes")

"Return what builds the batch norms of `trial` from a number of channels; in Lux the momentum is the batch's weight."
function norm_of(trial::Trial)
    epsilon, momentum = Float32(number(trial, "model.norm_epsilon")), Float32(number(trial, "model.norm_momentum"))
    return channels -> BatchNorm(channels; epsilon = epsilon, momentum = momentum)
end

no_norm(_) = NoOpLayer()

"A convolution that does not flip its kernel."
correlation(size, channels, activation = identity; options...) =
    Conv((size, size), channels, activation; cross_correlation = true, options...)

"A perceptron with one or two hidden layers."
function mlp(pixels, units, hidden_layers, classes, dropout_rate)
    second = hidden_layers == 2 ? (hidden2 = Dense(units => units, relu),) : NamedTuple()
    return Chain(;
        flatten = FlattenLayer(), hidden = Dense(pixels => units, relu), second...,
        dropout = Dropout(Float32(dropout_rate)), output = Dense(units => classes))
end

"LeNet-5 with ReLU and max-pooling."
lenet5(channels, classes) = Chain(;
    conv1 = correlation(5, channels => 6, relu),
    pool1 = MaxPool((2, 2)),
    conv2 = correlation(5, 6 => 16, relu),
    pool2 = MaxPool((2, 2)),
    flatten = FlattenLayer(),
    dense1 = Dense(256 => 120, relu),
    dense2 = Dense(120 => 84, relu),
    dense3 = Dense(84 => classes),
)

"Two convolutions, each with batch norm where there is one, a dense layer with dropout, and the output."
cnn(shape, classes, dropout_rate, norm) = Chain(;
    conv1 = correlation(3, shape[3] => 32, relu),
    norm1 = norm(32),
    pool1 = MaxPool((2, 2)),
    conv2 = correlation(3, 32 => 64, relu),
    norm2 = norm(64),
    pool2 = MaxPool((2, 2)),
    flatten = FlattenLayer(),
    hidden = Dense(64 * prod(pooled_twice.(shape[1:2])) => 64, relu),
    dropout = Dropout(Float32(dropout_rate)),
    output = Dense(64 => classes),
)

"The convolutional network of the Keras introduction."
keras_cnn(shape, classes, dropout_rate) = Chain(;
    conv1 = correlation(3, shape[3] => 32, relu),
    pool1 = MaxPool((2, 2)),
    conv2 = correlation(3, 32 => 64, relu),
    pool2 = MaxPool((2, 2)),
    flatten = FlattenLayer(),
    dropout = Dropout(Float32(dropout_rate)),
    output = Dense(64 * prod(pooled_twice.(shape[1:2])) => classes),
)

"Return what two rounds of a 3 × 3 convolution and a max-pool leave of the side of an image."
pooled_twice(side) = ((side - 2) ÷ 2 - 2) ÷ 2

"Blocks of each stage, and outer channels over inner ones."
const RESNETS = Dict("resnet18" => ((2, 2, 2, 2), 1), "resnet50" => ((3, 4, 6, 3), 4))

"A residual network (He et al. 2015) with the stride of its bottlenecks in their 3 × 3 convolution."
function resnet(name, stem, channels, classes, norm)
    layers = resnet_stem(stem, channels, norm)
    blocks, expansion = RESNETS[name]
    width = 64
    for (stage, inner) in enumerate((64, 128, 256, 512)), block in 1:blocks[stage]
        stride = stage > 1 && block == 1 ? 2 : 1
        prefix = "s$(stage)b$(block)"
        push!(layers, prefix => residual(prefix, width, inner, expansion, stride, norm), "$(prefix)_relu" => rectified())
        width = expansion * inner
    end
    push!(layers, "pool" => GlobalMeanPool(), "flatten" => FlattenLayer(), "output" => Dense(width => classes))
    return named_chain(layers)
end

"Return a chain of layers with names."
named_chain(layers) = Chain((; (Symbol(name) => layer for (name, layer) in layers)...))

function resnet_stem(stem, channels, norm)
    stem == "imagenet" || return Pair{String,Any}[
        "stem" => padded(3, channels => 64, 1), "stem_norm" => norm(64), "stem_relu" => rectified()]
    return Pair{String,Any}[
        "stem" => padded(7, channels => 64, 2), "stem_norm" => norm(64), "stem_relu" => rectified(),
        "stem_pool" => MaxPool((3, 3); stride = 2, pad = 1)]
end

"A block of two 3 × 3 convolutions, or of one on fewer channels between two of 1 × 1, beside its shortcut."
function residual(prefix, width, inner, expansion, stride, norm)
    sizes = expansion == 1 ? ((3, inner, stride), (3, inner, 1)) : ((1, inner, 1), (3, inner, stride), (1, 4inner, 1))
    branch, inputs = Pair{String,Any}[], width
    for (number, (size, outputs, step)) in enumerate(sizes)
        push!(branch, "$(prefix)_conv$number" => padded(size, inputs => outputs, step))
        push!(branch, "$(prefix)_norm$number" => norm(outputs))
        number < length(sizes) && push!(branch, "$(prefix)_relu$number" => rectified())
        inputs = outputs
    end
    shortcut = stride == 1 && width == inputs ? NoOpLayer() : named_chain([
        "$(prefix)_skip" => padded(1, width => inputs, stride), "$(prefix)_skip_norm" => norm(inputs)])
    return Parallel(+; branch = named_chain(branch), shortcut = shortcut)
end

"A convolution of a residual network: padded, without bias."
padded(size, channels, stride) =
    correlation(size, channels; stride = stride, pad = (size - 1) ÷ 2, use_bias = false)

rectified() = WrappedFunction(x -> relu.(x))
