# A training loop with Flux, as its tutorials write it, for one model on one CPU: what deadheat's runner is held to.
#
#     julia --project=collector/runners/julia_flux benchmarks/bare/julia_flux.jl TRIAL.JSON
#
# Trains the model (mlp or lenet5) of a trial of mode `steps` on its data, weights and order, and prints seconds in
# all, the fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote.
# Flux before 0.13 is written with `params`, later ones with `setup`, as each one's own documentation does.

using Flux
using LinearAlgebra: BLAS
using Random: seed!

const CHUNKS = 20
const EXPLICIT = isdefined(Flux, :setup)

"Return the settings of a trial: one `\"key\": value` a line."
settings(path) = Dict(m[1] => strip(m[2], '"') for m in eachmatch(r"^\"([^\"]+)\": (.*?),?$"m, read(path, String)))

"Return the elements of a `.npy` file of version 1.0, in its own order."
function elements(T, path)
    bytes = read(path)
    start = 10 + Int(reinterpret(UInt16, bytes[9:10])[1])
    return collect(reinterpret(T, bytes[(start + 1):end]))
end

"Return standardised images, width × height × 1 × examples, and one-hot labels."
function read_data(trial)
    mean, std = (parse(Float32, strip(trial["data." * name], ['[', ']'])) for name in ("mean", "std"))
    pixels = reshape(read(trial["data.train_images"])[17:end], 28, 28, 1, :)
    return (pixels ./ 255.0f0 .- mean) ./ std, Flux.onehotbatch(read(trial["data.train_labels"])[9:end], 0:9)
end

dense(inputs, outputs, σ = identity) = EXPLICIT ? Dense(inputs => outputs, σ) : Dense(inputs, outputs, σ)

function build(trial)
    if trial["model"] == "mlp"
        units, rate = parse(Int, trial["model.hidden_units"]), parse(Float64, trial["model.dropout_rate"])
        return Chain(Flux.flatten, dense(784, units, relu), Dropout(rate), dense(units, 10))
    end
    return Chain(
        CrossCor((5, 5), 1 => 6, relu), MaxPool((2, 2)),
        CrossCor((5, 5), 6 => 16, relu), MaxPool((2, 2)),
        Flux.flatten, dense(256, 120, relu), dense(120, 84, relu), dense(84, 10))
end

"Copy the given weights into the layers that have some."
function load_weights!(model, folder)
    names = length(model.layers) == 4 ? ["hidden", "output"] : ["conv1", "conv2", "dense1", "dense2", "dense3"]
    for (name, layer) in zip(names, filter(layer -> layer isa Union{Dense,CrossCor}, collect(model.layers)))
        weight = elements(Float32, joinpath(folder, name * ".weight.npy"))
        copyto!(layer.weight, layer isa Dense ? permutedims(reshape(weight, reverse(size(layer.weight)))) : weight)
        copyto!(layer.bias, elements(Float32, joinpath(folder, name * ".bias.npy")))
    end
end

function build_optimizer(trial)
    value(key) = parse(Float64, trial["optimizer." * key])
    if trial["optimizer"] == "sgd"
        rule, decay = Momentum(value("learning_rate"), value("momentum")), value("weight_decay")
        decay == 0 && return rule
        return EXPLICIT ? Flux.OptimiserChain(WeightDecay(decay), rule) : Flux.Optimise.Optimiser(WeightDecay(decay), rule)
    end
    betas = (value("beta1"), value("beta2"))
    return EXPLICIT ? Flux.Adam(value("learning_rate"), betas) : ADAM(value("learning_rate"), betas)
end

"Return a function that does one step on a batch and returns its loss."
function stepper(model, optimizer)
    if EXPLICIT
        state = Flux.setup(optimizer, model)
        return function (x, y)
            loss, gradients = Flux.withgradient(m -> Flux.logitcrossentropy(m(x), y), model)
            Flux.update!(state, model, gradients[1])
            return loss
        end
    end
    parameters = Flux.params(model)
    return function (x, y)
        loss, back = Flux.Zygote.pullback(() -> Flux.Losses.logitcrossentropy(model(x), y), parameters)
        Flux.Optimise.update!(optimizer, parameters, back(1.0f0))
        return loss
    end
end

"Train on the batches, the columns of `order`; return the clock at the edges of the chunks and the mean loss."
function train(trial, images, labels, order)
    model = build(trial)
    load_weights!(model, trial["weights"])
    Flux.trainmode!(model)
    seed!(parse(Int, trial["seed"]))
    return loop!(stepper(model, build_optimizer(trial)), images, labels, order)
end

function loop!(step!, images, labels, order)
    loss_sum, steps, edges = 0.0, size(order, 2), [time_ns()]
    for chunk in 1:CHUNKS
        for number in (steps * (chunk - 1) ÷ CHUNKS + 1):(steps * chunk ÷ CHUNKS)
            batch = order[:, number]
            loss_sum += step!(images[:, :, :, batch], labels[:, batch])
        end
        push!(edges, time_ns())
    end
    return edges, loss_sum / steps
end

function main()
    trial = settings(ARGS[1])
    set_zero_subnormals(true)
    BLAS.set_num_threads(parse(Int, trial["threads"]))
    images, labels = read_data(trial)
    order = reshape(elements(Int32, trial["order"]), parse(Int, trial["batch_size"]), :) .+ 1
    train(trial, images, labels, order[:, 1:CHUNKS])      # compiles
    edges, loss = train(trial, images, labels, order)
    seconds(ns) = round(ns / 1e9; digits = 4)
    println(seconds(edges[end] - edges[1]), " ", seconds(CHUNKS * minimum(diff(Int.(edges)))), " ", loss)
end

main()
