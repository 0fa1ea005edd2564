# What --describe prints. SimpleChains itself is not loaded: that takes longer than a question should.

include(joinpath(@__DIR__, "..", "_julia", "blas.jl"))
include(joinpath(@__DIR__, "..", "_julia", "packages.jl"))
using .BlasInfo, .Packages

"Return the versions that bear on speed, as one JSON object; end the program where SimpleChains is absent."
function description()
    fields = [
        "language" => "Julia", "language_version" => string(VERSION), "framework" => "SimpleChains",
        "framework_version" => require_framework("SimpleChains"), "blas" => blas_description(),
        "cpu_target" => Sys.CPU_NAME,
    ]
    chains = Base.identify_package("SimpleChains")
    for package in (Base.identify_package(chains, "LoopVectorization"), Base.identify_package("Optimisers"))
        found = installed_version(package)
        found === nothing || push!(fields, lowercase(package.name) => found)
    end
    return json_object(fields, ["cpu"])
end
