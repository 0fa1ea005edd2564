# The calls that are written differently for Flux 0.16 and for Flux 0.12, each under one name.
#
# The other files know nothing of versions. To drop Flux 0.12, delete the second half of this file.

using Flux: BatchNorm, Dense

"Whether the state of an optimizer is a tree beside the model; before, it was hidden in the optimizer."
const EXPLICIT_STATE = isdefined(Flux, :setup)

if EXPLICIT_STATE
    using Flux: DataLoader, setup, update!, withgradient, Adam, AdamW, OptimiserChain
    using Flux.ChainRulesCore: ignore_derivatives

    batch_norm(channels; eps, momentum) = BatchNorm(channels; eps = eps, momentum = momentum)
    adam(η, β, ϵ) = Adam(η, β, ϵ)
    adamw(η, β, λ, ϵ) = AdamW(η, β, λ, ϵ; couple = true)      # w -= η * (Adam's step + λ * w)
    chain(rules...) = OptimiserChain(rules...)
    unsupported_epsilon(ϵ) = ""
    train_by_flux!(loss, model, batches, state) = Flux.train!(loss, model, batches, state)
    undifferentiated(f) = ignore_derivatives(f)
    trainable_arrays(layer) = Flux.Optimisers.trainables(layer)
else
    using Flux.Data: DataLoader
    using Flux.Optimise: ADAM, Optimiser, WeightDecay
    using Flux.Zygote: ignore, pullback

    # An optimizer of that time keeps what belongs to a parameter in a dictionary, by the parameter's identity.
    setup(optimizer, model) = optimizer

    "Change every parameter of `model` that has a gradient: a tree as Zygote returns it for the model."
    update!(optimizer, model, gradient) = update_tree!(optimizer, model, gradient)

    update_tree!(optimizer, part, ::Union{Nothing,Number}) = nothing      # a number: the epsilon of a batch norm
    update_tree!(optimizer, part, gradient::Base.RefValue) = update_tree!(optimizer, part, gradient[])
    update_tree!(optimizer, parameter::AbstractArray, gradient::AbstractArray) =
        (Flux.Optimise.update!(optimizer, parameter, gradient); nothing)

    function update_tree!(optimizer, part, gradient::Union{Tuple,NamedTuple})
        for name in keys(gradient)
            update_tree!(optimizer, getfield(part, name), gradient[name])
        end
    end

    "Return the loss and, in a tuple, its gradient with respect to the model."
    function withgradient(loss, model)
        value, back = pullback(loss, model)
        return value, back(one(value))
    end

    Flux.Dense(size::Pair, activation = identity) = Dense(first(size), last(size), activation)
    batch_norm(channels; eps, momentum) = BatchNorm(channels; ϵ = eps, momentum = momentum)
    adam(η, β, ϵ) = ADAM(η, β)
    adamw(η, β, λ, ϵ) = Optimiser(ADAM(η, β), WeightDecay(η * λ))
    chain(rules...) = Optimiser(rules...)

    "Return why Adam cannot have this epsilon: that of this Flux cannot be chosen. Empty if it can."
    unsupported_epsilon(ϵ) =
        ϵ == Flux.Optimise.ϵ ? "" : "optimizer.epsilon: got $ϵ; this Flux supports $(Flux.Optimise.ϵ)"

    "Train with each of the `batches`, tuples of what `loss` takes beside the model."
    train_by_flux!(loss, model, batches, optimizer) =
        Flux.train!((parts...) -> loss(model, parts...), Flux.params(model), batches, optimizer)

    undifferentiated(f) = ignore(f)
    trainable_arrays(layer) = Flux.params(layer)
end
