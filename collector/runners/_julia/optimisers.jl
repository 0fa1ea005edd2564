# The optimizers of the contract (§6) as rules of Optimisers.jl, with every hyperparameter spelled out.

using Optimisers: Adam, AdamW, Descent, Momentum, OptimiserChain, WeightDecay

"Return the rule that `trial` asks for, with the learning rate `rate`."
function build_rule(trial::Trial, rate::Float64)
    decay = number(trial, "optimizer.weight_decay")
    text(trial, "optimizer") == "sgd" && return with_decay(decay, descent(rate, number(trial, "optimizer.momentum")))
    betas = (number(trial, "optimizer.beta1"), number(trial, "optimizer.beta2"))
    epsilon = number(trial, "optimizer.epsilon")
    text(trial, "optimizer") == "adamw" && return AdamW(rate, betas, decay, epsilon; couple = true)
    return with_decay(decay, Adam(rate, betas, epsilon))
end

"The velocity of Momentum holds the learning rate; that is the contract's form, because the rate never changes."
descent(rate, momentum) = momentum == 0 ? Descent(rate) : Momentum(rate, momentum)

"Weight decay as part of the gradient: it comes first."
with_decay(decay, rule) = decay == 0 ? rule : OptimiserChain(WeightDecay(decay), rule)
