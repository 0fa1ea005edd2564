# What --describe prints. Flux itself is not loaded: that takes longer than a question should.

include(joinpath(@__DIR__, "..", "_julia", "blas.jl"))
include(joinpath(@__DIR__, "..", "_julia", "packages.jl"))
using .BlasInfo, .Packages

"Return the versions that bear on speed, as one JSON object; end the program where Flux is absent."
function description()
    version = require_framework("Flux")
    here = devices()
    fields = [
        "language" => "Julia", "language_version" => string(VERSION), "framework" => "Flux",
        "framework_version" => version, "blas" => blas_description(), "cpu_target" => Sys.CPU_NAME,
    ]
    flux = Base.identify_package("Flux")
    for name in ("Zygote", "NNlib", "Optimisers", ("cuda" in here ? ("CUDA", "cuDNN") : ())...)
        found = installed_version(Base.identify_package(flux, name))
        found === nothing || push!(fields, lowercase(name) => found)
    end
    enzyme = installed_version(Base.identify_package("Enzyme"))
    enzyme === nothing || push!(fields, "enzyme" => enzyme)
    return json_object(fields, here)
end

"Return the devices: `cuda` where CUDA.jl is in the project and works."
function devices()
    Base.identify_package("CUDA") === nothing && return ["cpu"]
    works = try
        @eval import CUDA
        @eval CUDA.functional()
    catch
        false
    end
    return works ? ["cpu", "cuda"] : ["cpu"]
end
