# The multilayer perceptron by hand: 784 · dense · ReLU · dropout · dense · softmax cross-entropy.
#
# Julia stores columns together, so an example is a column: activations are features × examples, and
# a weight as stored in its file (C order, [out, in]) is in × out here. Every function ending in `!`
# works in place on arrays made once: the training loop allocates nothing.
#
# BLAS.gemm! is called by name: `mul!` would choose it too, after half a second of compiling.

module Models

export Dense, Mlp, Workspace, Sgd, Adam
export layers, zeros_like, parameter_count, copy_parameters!, forward!, cross_entropy!, backward!, update!, reset!

using LinearAlgebra: BLAS
using Random: AbstractRNG, rand!

"A dense layer: `weight` is inputs × outputs. Gradients and moments have the same form."
struct Dense
    weight::Matrix{Float32}
    bias::Vector{Float32}
end

"The perceptron, or anything shaped like it."
struct Mlp
    hidden::Dense
    output::Dense
end

"The layers by the names their files carry."
layers(model::Mlp) = ("hidden" => model.hidden, "output" => model.output)

"Return zeros shaped like a layer or a model."
zeros_like(layer::Dense) = Dense(zero(layer.weight), zero(layer.bias))
zeros_like(model::Mlp) = Mlp(zeros_like(model.hidden), zeros_like(model.output))

"Return the number of trainable parameters."
parameter_count(layer::Dense) = length(layer.weight) + length(layer.bias)
parameter_count(model::Mlp) = parameter_count(model.hidden) + parameter_count(model.output)

"Set every parameter of `to` to those of `from`."
function copy_parameters!(to::Dense, from::Dense)
    copyto!(to.weight, from.weight)
    copyto!(to.bias, from.bias)
end

function copy_parameters!(to::Mlp, from::Mlp)
    copy_parameters!(to.hidden, from.hidden)
    copy_parameters!(to.output, from.output)
end

"Set every element of a layer or a model to zero."
function fill_zero!(layer::Dense)
    fill!(layer.weight, 0.0f0)
    fill!(layer.bias, 0.0f0)
end

function fill_zero!(model::Mlp)
    fill_zero!(model.hidden)
    fill_zero!(model.output)
end

"The arrays one batch needs on its way forward and back. All are features × examples."
struct Workspace
    images::Matrix{Float32}
    labels::Vector{Int32}
    hidden::Matrix{Float32}
    uniform::Matrix{Float32}
    logits::Matrix{Float32}
    hidden_gradient::Matrix{Float32}
    logits_gradient::Matrix{Float32}
end

"Make the arrays for batches of `examples` examples."
function Workspace(model::Mlp, examples::Int)
    inputs, hidden = size(model.hidden.weight)
    outputs = size(model.output.weight, 2)
    features(n) = zeros(Float32, n, examples)
    return Workspace(
        features(inputs), zeros(Int32, examples), features(hidden), features(hidden), features(outputs),
        features(hidden), features(outputs),
    )
end

"Set `out` to `weightᵀ · input`; the bias is added by what follows."
dense!(out::Matrix{Float32}, layer::Dense, input::Matrix{Float32}) =
    BLAS.gemm!('T', 'N', 1.0f0, layer.weight, input, 0.0f0, out)

"Add `bias` to every column of `out`."
function add_bias!(out::Matrix{Float32}, bias::Vector{Float32})
    @inbounds for example in axes(out, 2), unit in axes(out, 1)
        out[unit, example] += bias[unit]
    end
    return out
end

"Return the larger of `x` and 0; NaN stays NaN, so that a diverged loss is seen."
relu(x::Float32) = ifelse(x < 0.0f0, 0.0f0, x)

"Add `bias` to every column of `out`, then ReLU."
function add_bias_relu!(out::Matrix{Float32}, bias::Vector{Float32})
    @inbounds for example in axes(out, 2), unit in axes(out, 1)
        out[unit, example] = relu(out[unit, example] + bias[unit])
    end
    return out
end

"Drop each activation whose `uniform` number is below `rate`; scale the others by `1 / (1 - rate)`."
function dropout!(out::Matrix{Float32}, uniform::Matrix{Float32}, rate::Float32)
    scale = 1.0f0 / (1.0f0 - rate)
    @inbounds @simd for place in eachindex(out, uniform)
        out[place] = ifelse(uniform[place] < rate, 0.0f0, out[place] * scale)
    end
    return out
end

"Return `work.logits` of `images` as in evaluation: without dropout."
function forward!(work::Workspace, model::Mlp, images::Matrix{Float32})
    dense!(work.hidden, model.hidden, images)
    add_bias_relu!(work.hidden, model.hidden.bias)
    dense!(work.logits, model.output, work.hidden)
    return add_bias!(work.logits, model.output.bias)
end

"Return `work.logits` of the batch in `work.images` as in training: dropout masks come from `rng`."
function forward!(work::Workspace, model::Mlp, rng::AbstractRNG, dropout_rate::Float32)
    dense!(work.hidden, model.hidden, work.images)
    add_bias_relu!(work.hidden, model.hidden.bias)
    if dropout_rate > 0
        rand!(rng, work.uniform)
        dropout!(work.hidden, work.uniform, dropout_rate)
    end
    dense!(work.logits, model.output, work.hidden)
    return add_bias!(work.logits, model.output.bias)
end

"""
    cross_entropy!(gradient, logits, labels)

Return the sum over the examples of the softmax cross-entropy, and set `gradient` to the derivative
of its *mean* with respect to the logits.
"""
function cross_entropy!(gradient::Matrix{Float32}, logits::Matrix{Float32}, labels::Vector{Int32})
    loss_sum = 0.0
    share = 1.0f0 / length(labels)
    @inbounds for example in axes(logits, 2)
        top = column_maximum(logits, example)
        total = 0.0f0
        for class in axes(logits, 1)
            weight = exp(logits[class, example] - top)
            gradient[class, example] = weight
            total += weight
        end
        for class in axes(logits, 1)
            gradient[class, example] *= share / total
        end
        label = labels[example]
        gradient[label, example] -= share
        loss_sum += log(total) + top - logits[label, example]
    end
    return loss_sum
end

function column_maximum(matrix::Matrix{Float32}, column::Integer)
    top = -Inf32
    @inbounds for row in axes(matrix, 1)
        top = ifelse(matrix[row, column] > top, matrix[row, column], top)
    end
    return top
end

"""
    backward!(gradient, work, model, dropout_rate)

Set `gradient` to the derivative of the batch's mean loss, from what `forward!` and
`cross_entropy!` left in `work`.
"""
function backward!(gradient::Mlp, work::Workspace, model::Mlp, dropout_rate::Float32)
    weight_gradient!(gradient.output, work.hidden, work.logits_gradient)
    BLAS.gemm!('N', 'N', 1.0f0, model.output.weight, work.logits_gradient, 0.0f0, work.hidden_gradient)
    relu_dropout_backward!(work.hidden_gradient, work.hidden, dropout_rate)
    weight_gradient!(gradient.hidden, work.images, work.hidden_gradient)
    return gradient
end

"Set `gradient` to that of a dense layer with this `input`, from the gradient of its output."
function weight_gradient!(gradient::Dense, input::Matrix{Float32}, output_gradient::Matrix{Float32})
    BLAS.gemm!('N', 'T', 1.0f0, input, output_gradient, 0.0f0, gradient.weight)
    fill!(gradient.bias, 0.0f0)
    @inbounds for example in axes(output_gradient, 2), unit in axes(output_gradient, 1)
        gradient.bias[unit] += output_gradient[unit, example]
    end
    return gradient
end

"Pass `gradient` back through dropout and ReLU: `output` is positive exactly where both let it through."
function relu_dropout_backward!(gradient::Matrix{Float32}, output::Matrix{Float32}, dropout_rate::Float32)
    scale = 1.0f0 / (1.0f0 - dropout_rate)
    @inbounds @simd for place in eachindex(gradient, output)
        gradient[place] = ifelse(output[place] > 0.0f0, gradient[place] * scale, 0.0f0)
    end
    return gradient
end

include("optimizer.jl")

end
