# The rules of Flux; versions.jl has those that its versions write differently.

using Flux: Descent, Momentum, WeightDecay

include(joinpath(@__DIR__, "..", "_julia", "rules.jl"))

"Return why this Flux cannot do the optimizer of `trial`; empty if it can."
unsupported_optimizer(trial::Trial) =
    text(trial, "optimizer") == "sgd" ? "" : unsupported_epsilon(number(trial, "optimizer.epsilon"))
