# What this runner can do.

"Any other value of these keys is answered with `unsupported`; model.jl adds the models."
const SUPPORTED = [
    "loss" => ["softmax_cross_entropy"],
    "optimizer" => ["sgd", "adam", "adamw"],
    "optimizer.schedule" => ["constant"],
    "device" => ["cpu"],
    "dtype" => ["fp32"],
    "loader" => ["resident", "stream"],
    "data.format" => ["idx", "cifar10_binary"],
    "mode" => ["train", "steps", "infer", "gate"],
    "variant" => ["zygote", "reactant"],
]

include(joinpath(@__DIR__, "..", "_julia", "support.jl"))
