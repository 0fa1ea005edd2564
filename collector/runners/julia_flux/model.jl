# The models of the contract (§5) as Flux chains, and the names that the files of their layers carry.
#
# To add a model: a function that returns a chain and the names of its layers with parameters, in the order of
# the chain; and its line in MODELS.
#
# Convolutions of the contract are cross-correlations: CrossCor, not Conv, which flips its kernel.

using Flux: BatchNorm, Chain, Conv, CrossCor, Dense, Dropout, GlobalMeanPool, MaxPool, Parallel, flatten, relu

residual(name) = (trial, shape, _) ->
    resnet(name, text(trial, "model.stem"), shape[3], classes(trial), norm_of(trial))

"Every model by its name: a function of the trial, the shape of images (width × height × channels), the dropout rate."
const MODELS = Dict(
    "mlp" => (trial, shape, rate) -> mlp(
        prod(shape), integer(trial, "model.hidden_units"), integer(trial, "model.hidden_layers"), classes(trial), rate),
    "lenet5" => (trial, shape, _) -> lenet5(shape[3], classes(trial)),
    "cnn" => (trial, shape, rate) ->
        cnn(shape, classes(trial), rate, trial["model.batch_norm"] ? norm_of(trial) : nothing),
    "keras_cnn" => (trial, shape, rate) -> keras_cnn(shape, classes(trial), rate),
    "resnet18" => residual("resnet18"),
    "resnet50" => residual("resnet50"),
)
push!(SUPPORTED, "model" => sort!(collect(keys(MODELS))))

"Return the chain of `trial` for images of `shape`, and the names of its layers with parameters."
build_model(trial::Trial, shape, dropout_rate::Float64) = MODELS[text(trial, "model")](trial, shape, dropout_rate)

classes(trial::Trial) = integer(trial, "data.classes")

"Return what builds the batch norms of `trial` from a number of channels; in Flux the momentum is the batch's weight."
function norm_of(trial::Trial)
    eps, momentum = Float32(number(trial, "model.norm_epsilon")), Float32(number(trial, "model.norm_momentum"))
    return channels -> batch_norm(channels; eps = eps, momentum = momentum)
end

"A perceptron with one or two hidden layers."
function mlp(pixels, units, hidden_layers, classes, dropout_rate)
    second = hidden_layers == 2 ? [Dense(units => units, relu)] : []
    chain = Chain(flatten, Dense(pixels => units, relu), second..., Dropout(dropout_rate), Dense(units => classes))
    return chain, hidden_layers == 2 ? ["hidden", "hidden2", "output"] : ["hidden", "output"]
end

"LeNet-5 with ReLU and max-pooling."
function lenet5(channels, classes)
    chain = Chain(
        CrossCor((5, 5), channels => 6, relu),
        MaxPool((2, 2)),
        CrossCor((5, 5), 6 => 16, relu),
        MaxPool((2, 2)),
        flatten,
        Dense(256 => 120, relu),
        Dense(120 => 84, relu),
        Dense(84 => classes),
    )
    return chain, ["conv1", "conv2", "dense1", "dense2", "dense3"]
end

"Two convolutions, each with batch norm where there is one, a dense layer with dropout, and the output."
function cnn(shape, classes, dropout_rate, norm)
    norms(channels) = norm === nothing ? [] : [norm(channels)]
    chain = Chain(
        CrossCor((3, 3), shape[3] => 32, relu),
        norms(32)...,
        MaxPool((2, 2)),
        CrossCor((3, 3), 32 => 64, relu),
        norms(64)...,
        MaxPool((2, 2)),
        flatten,
        Dense(64 * prod(pooled_twice.(shape[1:2])) => 64, relu),
        Dropout(dropout_rate),
        Dense(64 => classes),
    )
    names = ["conv1", "norm1", "conv2", "norm2", "hidden", "output"]
    return chain, norm === nothing ? filter(name -> !startswith(name, "norm"), names) : names
end

"The convolutional network of the Keras introduction."
function keras_cnn(shape, classes, dropout_rate)
    chain = Chain(
        CrossCor((3, 3), shape[3] => 32, relu),
        MaxPool((2, 2)),
        CrossCor((3, 3), 32 => 64, relu),
        MaxPool((2, 2)),
        flatten,
        Dropout(dropout_rate),
        Dense(64 * prod(pooled_twice.(shape[1:2])) => classes),
    )
    return chain, ["conv1", "conv2", "output"]
end

"Return what two rounds of a 3 × 3 convolution and a max-pool leave of the side of an image."
pooled_twice(side) = ((side - 2) ÷ 2 - 2) ÷ 2

"Blocks of each stage, and outer channels over inner ones."
const RESNETS = Dict("resnet18" => ((2, 2, 2, 2), 1), "resnet50" => ((3, 4, 6, 3), 4))

"A residual network (He et al. 2015) with the stride of its bottlenecks in their 3 × 3 convolution."
function resnet(name, stem, channels, classes, norm)
    layers, names = resnet_stem(stem, channels, norm), ["stem", "stem_norm"]
    blocks, expansion = RESNETS[name]
    width = 64
    for (stage, inner) in enumerate((64, 128, 256, 512)), block in 1:blocks[stage]
        stride = stage > 1 && block == 1 ? 2 : 1
        branch, parts = expansion == 1 ? basic(width, inner, stride, norm) : bottleneck(width, inner, stride, norm)
        if stride != 1 || width != expansion * inner
            shortcut = Chain(padded(1, width => expansion * inner, stride), norm(expansion * inner))
            parts = [parts; "skip"; "skip_norm"]
        else
            shortcut = identity
        end
        push!(layers, Parallel(+, branch, shortcut), rectify)
        append!(names, "s$(stage)b$(block)_" .* parts)
        width = expansion * inner
    end
    return Chain(layers..., GlobalMeanPool(), flatten, Dense(width => classes)), [names; "output"]
end

function resnet_stem(stem, channels, norm)
    stem == "imagenet" || return Any[padded(3, channels => 64, 1), norm(64), rectify]
    return Any[padded(7, channels => 64, 2), norm(64), rectify, MaxPool((3, 3); stride = 2, pad = 1)]
end

"Two 3 × 3 convolutions."
function basic(width, inner, stride, norm)
    branch = Chain(padded(3, width => inner, stride), norm(inner), rectify, padded(3, inner => inner, 1), norm(inner))
    return branch, ["conv1", "norm1", "conv2", "norm2"]
end

"A 3 × 3 convolution on fewer channels, between two 1 × 1 convolutions."
function bottleneck(width, inner, stride, norm)
    branch = Chain(
        padded(1, width => inner, 1), norm(inner), rectify,
        padded(3, inner => inner, stride), norm(inner), rectify,
        padded(1, inner => 4 * inner, 1), norm(4 * inner),
    )
    return branch, ["conv1", "norm1", "conv2", "norm2", "conv3", "norm3"]
end

"A convolution of a residual network: padded, without bias."
padded(size, channels, stride) = CrossCor((size, size), channels; stride = stride, pad = (size - 1) ÷ 2, bias = false)

rectify(x) = relu.(x)

# Names and places of parameters. A gradient is a tree shaped like its model, so one path leads to both.

"Where an array lies in a model: its name in the contract, and the fields and indices on the way to it."
struct Place
    name::String
    path::Vector{Union{Symbol,Int}}
end

"Return the places of the parameters of `model`, whose layers have these `names`."
parameter_places(model, names) = places(model, names, parameter_fields)

"Return the places of the running statistics of `model`."
statistics_places(model, names) = places(model, names, statistics_fields)

function places(model, names, fields)
    found = layers_with_parameters(model)
    length(found) == length(names) || error(
        "model.jl: the chain has $(length(found)) layers with parameters ($(join(kinds(found), ", "))) and ",
        "$(length(names)) names ($(join(names, ", "))); expected a name for each. Give them in the order of the chain")
    return [
        Place("$name.$parameter", [path; field])
        for (name, (layer, path)) in zip(names, found) for (parameter, field) in fields(layer)
    ]
end

kinds(found) = [kind(layer) for (layer, _) in found]
kind(layer) = string(nameof(typeof(layer)))

"Return the layers with parameters and their paths, in the order of the chain."
function layers_with_parameters(layer, path = Union{Symbol,Int}[])
    isempty(parameter_fields(layer)) || return [(layer, path)]
    if !(layer isa Union{Chain,Parallel})
        isempty(trainable_arrays(layer)) || error(
            "model.jl: a layer of type $(kind(layer)) has parameters without names; ",
            "expected a method of parameter_fields for it. Add one")
        return []
    end
    below = [layers_with_parameters(layer.layers[i], [path; :layers; i]) for i in 1:length(layer.layers)]
    return reduce(vcat, below)
end

parameter_fields(layer) = ()
parameter_fields(layer::Dense) = ("weight" => :weight, "bias" => :bias)
parameter_fields(layer::BatchNorm) = ("weight" => :γ, "bias" => :β)
parameter_fields(layer::Union{Conv,CrossCor}) =
    layer.bias isa AbstractArray ? ("weight" => :weight, "bias" => :bias) : ("weight" => :weight,)

statistics_fields(layer) = ()
statistics_fields(layer::BatchNorm) = ("running_mean" => :μ, "running_var" => :σ²)

"Return the array at a place of a model or of its gradient."
array_at(tree, place::Place) = foldl(step_into, place.path; init = tree)

step_into(tree, step) = step isa Symbol ? getproperty(tree, step) : tree[step]
step_into(tree::Base.RefValue, step) = step_into(tree[], step)

"Return the array that files hold for a place, as Flux has it; throw an error where there is none, or of another size."
function given_array(arrays, place::Place, model)
    haskey(arrays, place.name) || error(
        "model.jl: a parameter has the name $(place.name); expected one of the workload's: ",
        "$(join(sort!(collect(keys(arrays))), ", ")). Name the layers as §5 of the contract does")
    given, expected = canonical(arrays[place.name]), size(array_at(model, place))
    size(given) == expected || error(
        "model.jl: $(place.name) has the size $expected in the chain; expected $(size(given)), that of the workload. ",
        "Compare the layer with §5 of the contract")
    return given
end

# Files hold C order, read with its axes in the opposite direction: a convolution is width × height × in × out as in
# Flux, but a dense weight is in × out and is transposed.

"Return an array of Flux as the files hold it, in host memory, and the other way round."
canonical(array) = Array(array)
canonical(matrix::AbstractMatrix) = permutedims(Array(matrix))
