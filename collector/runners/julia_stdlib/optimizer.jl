# SGD with momentum and Adam, as the runner contract writes them. Weight decay is part of the gradient.

"Stochastic gradient descent with momentum."
struct Sgd
    learning_rate::Float32
    momentum::Float32
    weight_decay::Float32
    velocity::Mlp
end

"Adam; `updates` counts those done. The betas are wide: 1 - 0.999 in Float32 is 1.3e-5 off."
mutable struct Adam
    learning_rate::Float64
    beta1::Float64
    beta2::Float64
    epsilon::Float32
    weight_decay::Float32
    first_moment::Mlp
    second_moment::Mlp
    updates::Int
end

"Forget every update done."
function reset!(optimizer::Sgd)
    fill_zero!(optimizer.velocity)
    return optimizer
end

function reset!(optimizer::Adam)
    fill_zero!(optimizer.first_moment)
    fill_zero!(optimizer.second_moment)
    optimizer.updates = 0
    return optimizer
end

"Change `model` by one update with `gradient`."
function update!(optimizer::Sgd, model::Mlp, gradient::Mlp)
    sgd!(model.hidden, gradient.hidden, optimizer.velocity.hidden, optimizer)
    sgd!(model.output, gradient.output, optimizer.velocity.output, optimizer)
    return model
end

function update!(optimizer::Adam, model::Mlp, gradient::Mlp)
    optimizer.updates += 1
    first, second = optimizer.first_moment, optimizer.second_moment
    adam!(model.hidden, gradient.hidden, first.hidden, second.hidden, optimizer)
    adam!(model.output, gradient.output, first.output, second.output, optimizer)
    return model
end

function sgd!(layer::Dense, gradient::Dense, velocity::Dense, optimizer::Sgd)
    sgd!(layer.weight, gradient.weight, velocity.weight, optimizer)
    sgd!(layer.bias, gradient.bias, velocity.bias, optimizer)
end

function adam!(layer::Dense, gradient::Dense, first::Dense, second::Dense, optimizer::Adam)
    adam!(layer.weight, gradient.weight, first.weight, second.weight, optimizer)
    adam!(layer.bias, gradient.bias, first.bias, second.bias, optimizer)
end

function sgd!(w::Array{Float32}, g::Array{Float32}, v::Array{Float32}, optimizer::Sgd)
    η, μ, λ = optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay
    @inbounds @simd ivdep for i in eachindex(w, g, v)
        v[i] = μ * v[i] + (g[i] + λ * w[i])
        w[i] -= η * v[i]
    end
end

"""
One Adam update of one array. With `s = 1 / √(1 - β₂ᵗ)` the contract's

    w - η · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)  =  w - (η / (1 - β₁ᵗ)) · m / (√v · s + ε)

leaves one division and one square root per element. `@fastmath` stands for a square root that does
not look for a negative argument (`v` has none): with that look the loop is not vectorised, and eight
times slower.
"""
function adam!(
    w::Array{Float32}, g::Array{Float32}, m::Array{Float32}, v::Array{Float32}, optimizer::Adam,
)
    β₁, β₂ = Float32(optimizer.beta1), Float32(optimizer.beta2)
    γ₁, γ₂ = Float32(1 - optimizer.beta1), Float32(1 - optimizer.beta2)
    step = Float32(optimizer.learning_rate / (1 - optimizer.beta1^optimizer.updates))
    s = Float32(1 / sqrt(1 - optimizer.beta2^optimizer.updates))
    λ, ε = optimizer.weight_decay, optimizer.epsilon
    @inbounds @simd ivdep for i in eachindex(w, g, m, v)
        gᵢ = g[i] + λ * w[i]
        mᵢ = β₁ * m[i] + γ₁ * gᵢ
        vᵢ = β₂ * v[i] + γ₂ * gᵢ * gᵢ
        w[i] -= step * mᵢ / (@fastmath(sqrt(vᵢ)) * s + ε)
        m[i], v[i] = mᵢ, vᵢ
    end
end
