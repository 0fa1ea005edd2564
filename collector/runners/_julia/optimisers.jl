# The rules of Optimisers.jl, for runners that use it by itself.

using Optimisers: Adam, AdamW, Descent, Momentum, OptimiserChain, WeightDecay

adam(η, β, ϵ) = Adam(η, β, ϵ)
adamw(η, β, λ, ϵ) = AdamW(η, β, λ, ϵ; couple = true)      # w -= η * (Adam's step + λ * w)
chain(rules...) = OptimiserChain(rules...)

include("rules.jl")
