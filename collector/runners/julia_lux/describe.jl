# What --describe prints. Lux itself is not loaded: that takes longer than a question should.

include(joinpath(@__DIR__, "..", "_julia", "blas.jl"))
include(joinpath(@__DIR__, "..", "_julia", "packages.jl"))
using .BlasInfo, .Packages

"Return the versions that bear on speed, as one JSON object; end the program where Lux is absent."
function description()
    fields = [
        "language" => "Julia", "language_version" => string(VERSION), "framework" => "Lux",
        "framework_version" => require_framework("Lux"), "blas" => blas_description(), "cpu_target" => Sys.CPU_NAME,
    ]
    lux = Base.identify_package("Lux")
    for name in ("NNlib", "Optimisers")
        found = installed_version(Base.identify_package(lux, name))
        found === nothing || push!(fields, lowercase(name) => found)
    end
    for name in ("Zygote", "Reactant", "Enzyme")
        found = installed_version(Base.identify_package(name))
        found === nothing || push!(fields, lowercase(name) => found)
    end
    return json_object(fields, ["cpu"])
end
