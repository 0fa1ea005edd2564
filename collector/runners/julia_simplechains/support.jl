# What this runner can do: small models on one thread of the processor.

"Any other value of these keys is answered with `unsupported`; model.jl adds the models."
const SUPPORTED = [
    "loss" => ["softmax_cross_entropy"],
    "optimizer" => ["sgd", "adam", "adamw"],
    "optimizer.schedule" => ["constant"],
    "device" => ["cpu"],
    "dtype" => ["fp32"],
    "loader" => ["resident"],
    "data.format" => ["idx"],
    "mode" => ["train", "steps", "infer", "gate"],
    "variant" => ["default"],
]

include(joinpath(@__DIR__, "..", "_julia", "support.jl"))

"Return why this runner cannot do `trial` beside the above; empty if it can."
function unsupported_more(trial::Trial)
    threads = integer(trial, "threads")
    threads == 1 || return string("threads: got ", threads, "; this runner supports 1: valgrad! has no more")
    text(trial, "model") == "mlp" || return ""
    layers = integer(trial, "model.hidden_layers")
    return layers == 1 ? "" : string("model.hidden_layers: got ", layers, "; this runner supports 1")
end
