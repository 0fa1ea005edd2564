# What --describe prints. Flux itself is not loaded: that takes longer than a question should.

include(joinpath(@__DIR__, "..", "_julia", "blas.jl"))
using .BlasInfo

"Return the versions that bear on speed, as one JSON object; end the program where Flux is absent."
function description()
    flux = Base.identify_package("Flux")
    version = installed_version(flux)
    if version === nothing
        println(stderr, "Flux is not installed in the project $(something(Base.active_project(), "of this Julia"))")
        exit(1)
    end
    fields = [
        "language" => "Julia", "language_version" => string(VERSION), "framework" => "Flux",
        "framework_version" => version, "blas" => blas_description(), "cpu_target" => Sys.CPU_NAME,
    ]
    here = devices()
    for name in ("Zygote", "NNlib", "Optimisers", ("cuda" in here ? ("CUDA", "cuDNN") : ())...)
        found = installed_version(Base.identify_package(flux, name))
        found === nothing || push!(fields, lowercase(name) => found)
    end
    pairs = ["\"$name\": \"$value\"" for (name, value) in fields]
    return "{" * join([pairs; "\"devices\": [$(join(repr.(here), ", "))]"], ", ") * "}"
end

"Return the version of a package, or nothing where it cannot be found."
function installed_version(package)
    package === nothing && return nothing
    entry = Base.locate_package(package)
    (entry === nothing || !isfile(entry)) && return nothing
    project = joinpath(dirname(dirname(entry)), "Project.toml")
    found = isfile(project) ? match(r"^version *= *\"([^\"]+)\""m, read(project, String)) : nothing
    return found === nothing ? nothing : String(found[1])
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
