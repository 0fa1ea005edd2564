# A training loop with Julia's standard library, as one writes it by hand for one model on one CPU: what deadheat's
# runner is held to.
#
#     julia -O2 benchmarks/bare/julia_stdlib.jl TRIAL.JSON
#
# Trains the perceptron of a trial of mode `steps` on its data, weights and order, and prints seconds in all, the
# fastest twentieth times twenty, and the mean loss. Nothing of deadheat is used but the files that it wrote.
# Arrays are made once; examples are columns.

using LinearAlgebra: BLAS, mul!
using Random: MersenneTwister, rand!

const CHUNKS = 20

"Return the settings of a trial: one `\"key\": value` a line."
settings(path) = Dict(m[1] => strip(m[2], '"') for m in eachmatch(r"^\"([^\"]+)\": (.*?),?$"m, read(path, String)))

"Return the elements of a `.npy` file of version 1.0, in its own order."
function elements(T, path)
    bytes = read(path)
    start = 10 + Int(reinterpret(UInt16, bytes[9:10])[1])
    return collect(reinterpret(T, bytes[(start + 1):end]))
end

"Return standardised images, pixels × examples, and labels from 1."
function read_data(trial)
    mean, std = (parse(Float32, strip(trial["data." * name], ['[', ']'])) for name in ("mean", "std"))
    pixels = reshape(read(trial["data.train_images"])[17:end], 28 * 28, :)
    return (pixels ./ 255.0f0 .- mean) ./ std, Int.(read(trial["data.train_labels"])[9:end]) .+ 1
end

"Weights as inputs × outputs and biases of both layers; moments and gradients have the same form."
struct Mlp
    W1::Matrix{Float32}
    b1::Vector{Float32}
    W2::Matrix{Float32}
    b2::Vector{Float32}
end

function Mlp(folder::String)
    part(name) = elements(Float32, joinpath(folder, name * ".npy"))
    b1, b2 = part("hidden.bias"), part("output.bias")
    return Mlp(reshape(part("hidden.weight"), :, length(b1)), b1, reshape(part("output.weight"), :, length(b2)), b2)
end

Base.zero(m::Mlp) = Mlp(zero(m.W1), zero(m.b1), zero(m.W2), zero(m.b2))

"Adam with all that it keeps."
mutable struct Adam
    rate::Float64
    β::Tuple{Float64,Float64}
    ϵ::Float32
    first::Mlp
    second::Mlp
    steps::Int
end

function update!(adam::Adam, model, gradient)
    adam.steps += 1
    step = Float32(adam.rate / (1 - adam.β[1]^adam.steps))
    scale = Float32(1 / sqrt(1 - adam.β[2]^adam.steps))
    for name in (:W1, :b1, :W2, :b2)
        w, g = getfield(model, name), getfield(gradient, name)
        adam!(w, g, getfield(adam.first, name), getfield(adam.second, name), adam, step, scale)
    end
end

function adam!(w, g, m, v, adam, step, scale)
    β₁, β₂ = Float32.(adam.β)
    γ₁, γ₂, ϵ = Float32(1 - adam.β[1]), Float32(1 - adam.β[2]), adam.ϵ
    @inbounds @simd ivdep for i in eachindex(w, g, m, v)
        m[i] = β₁ * m[i] + γ₁ * g[i]
        v[i] = β₂ * v[i] + γ₂ * g[i] * g[i]
        w[i] -= step * m[i] / (@fastmath(sqrt(v[i])) * scale + ϵ)
    end
end

"What one batch needs on its way."
struct Buffers
    x::Matrix{Float32}
    y::Vector{Int}
    h::Matrix{Float32}
    mask::Matrix{Float32}
    logits::Matrix{Float32}
    dh::Matrix{Float32}
end

Buffers(model, size) = Buffers(
    zeros(Float32, Base.size(model.W1, 1), size), zeros(Int, size), zeros(Float32, length(model.b1), size),
    zeros(Float32, length(model.b1), size), zeros(Float32, length(model.b2), size),
    zeros(Float32, length(model.b1), size))

"Do one step on the batch in `b`; return its mean loss."
function step!(model, gradient, adam, b, rate, rng)
    keep = 1 / (1 - rate)
    mul!(b.h, model.W1', b.x)
    rand!(rng, b.mask)
    b.mask .= ifelse.(b.mask .< rate, 0.0f0, keep)
    b.h .= max.(b.h .+ model.b1, 0.0f0) .* b.mask
    mul!(b.logits, model.W2', b.h)
    b.logits .+= model.b2
    loss = cross_entropy!(b.logits, b.y)
    mul!(gradient.W2, b.h, b.logits')
    sum!(gradient.b2, b.logits)
    mul!(b.dh, model.W2, b.logits)
    b.dh .= ifelse.(b.h .> 0, b.dh .* b.mask, 0.0f0)
    mul!(gradient.W1, b.x, b.dh')
    sum!(gradient.b1, b.dh)
    update!(adam, model, gradient)
    return loss
end

"Return the mean loss, and turn the logits into its gradient."
function cross_entropy!(logits, y)
    loss, n = 0.0, length(y)
    @inbounds for j in 1:n
        top = maximum(view(logits, :, j))
        total = 0.0f0
        for i in axes(logits, 1)
            weight = exp(logits[i, j] - top)
            i == y[j] && (loss -= logits[i, j] - top)
            logits[i, j] = weight
            total += weight
        end
        loss += log(total)
        for i in axes(logits, 1)
            logits[i, j] /= total * n
        end
        logits[y[j], j] -= 1.0f0 / n
    end
    return loss / n
end

"Train on the batches, the columns of `order`; return the clock at the edges of the chunks and the mean loss."
function train(trial, images, labels, order)
    model = Mlp(String(trial["weights"]))
    value(key) = parse(Float64, trial[key])
    adam = Adam(value("optimizer.learning_rate"), (value("optimizer.beta1"), value("optimizer.beta2")),
        Float32(value("optimizer.epsilon")), zero(model), zero(model), 0)
    gradient, buffers = zero(model), Buffers(model, size(order, 1))
    rate, rng = Float32(value("model.dropout_rate")), MersenneTwister(parse(Int, trial["seed"]))
    return loop!(model, gradient, adam, buffers, rate, rng, images, labels, order)
end

function loop!(model, gradient, adam, buffers, rate, rng, images, labels, order)
    loss_sum, steps, edges = 0.0, size(order, 2), [time_ns()]
    for chunk in 1:CHUNKS
        for number in (steps * (chunk - 1) ÷ CHUNKS + 1):(steps * chunk ÷ CHUNKS)
            for (column, example) in enumerate(view(order, :, number))
                copyto!(view(buffers.x, :, column), view(images, :, example + 1))
                buffers.y[column] = labels[example + 1]
            end
            loss_sum += step!(model, gradient, adam, buffers, rate, rng)
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
    order = reshape(elements(Int32, trial["order"]), parse(Int, trial["batch_size"]), :)
    train(trial, images, labels, order[:, 1:CHUNKS])      # compiles
    edges, loss = train(trial, images, labels, order)
    seconds(ns) = round(ns / 1e9; digits = 4)
    println(seconds(edges[end] - edges[1]), " ", seconds(CHUNKS * minimum(diff(Int.(edges)))), " ", loss)
end

main()
