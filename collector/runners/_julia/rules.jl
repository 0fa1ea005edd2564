# The optimizers of the contract (§6), with every hyperparameter spelled out.
#
# A runner that includes this has the rules in scope: Descent, Momentum, WeightDecay, and as functions of their
# hyperparameters `adam`, `adamw` and `chain`, one rule after another.

"Return the rule that `trial` asks for, with the learning rate `rate`."
function build_rule(trial::Trial, rate::Float64)
    decay = number(trial, "optimizer.weight_decay")
    text(trial, "optimizer") == "sgd" && return with_decay(decay, descent(rate, number(trial, "optimizer.momentum")))
    betas = (number(trial, "optimizer.beta1"), number(trial, "optimizer.beta2"))
    epsilon = number(trial, "optimizer.epsilon")
    text(trial, "optimizer") == "adamw" && return adamw(rate, betas, decay, epsilon)
    return with_decay(decay, adam(rate, betas, epsilon))
end

"The velocity of Momentum holds the learning rate; that is the contract's form, because the rate never changes."
descent(rate, momentum) = momentum == 0 ? Descent(rate) : Momentum(rate, momentum)

"Weight decay as part of the gradient: it comes first."
with_decay(decay, rule) = decay == 0 ? rule : chain(WeightDecay(decay), rule)
