# What this runner can do.

"Any other value of these keys is answered with `unsupported`; model.jl adds the models."
const SUPPORTED = [
    "loss" => ["softmax_cross_entropy"],
    "optimizer" => ["sgd", "adam", "adamw"],
    "optimizer.schedule" => ["constant"],
    "device" => ["cpu", "cuda"],
    "dtype" => ["fp32"],
    "loader" => ["resident", "stream"],
    "data.format" => ["idx", "cifar10_binary"],
    "mode" => ["train", "steps", "infer", "gate"],
    "variant" => ["zygote", "train", "enzyme", "cold", "juliacall"],
]

"Return why the variant of `trial` cannot be run; empty if it can."
function unsupported_variant(trial::Trial)
    text(trial, "variant") == "enzyme" || return ""
    text(trial, "device") == "cpu" || return "device: got cuda; variant enzyme supports cpu"
    is_installed("Enzyme") && return ""
    add = "using Pkg; Pkg.add(name=\"Enzyme\", version=\"0.13\")"
    return "variant: enzyme needs the package Enzyme: julia --project=collector/runners/julia_flux -e '$add'"
end

"Return whether the project has the package `name`, and its files are there."
function is_installed(name::String)
    package = Base.identify_package(name)
    entry = package === nothing ? nothing : Base.locate_package(package)
    return entry !== nothing && isfile(entry)
end

include(joinpath(@__DIR__, "..", "_julia", "support.jl"))
