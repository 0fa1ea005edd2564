# What --describe prints.

include(joinpath(@__DIR__, "..", "_julia", "blas.jl"))
using .BlasInfo

"Return the versions that bear on speed, as one JSON object."
function description()
    version = string(VERSION)
    return string(
        "{\"language\": \"Julia\", \"language_version\": \"", version,
        "\", \"framework\": \"Julia standard library\", \"framework_version\": \"", version,
        "\", \"devices\": [\"cpu\"], \"blas\": \"", blas_description(),
        "\", \"cpu_target\": \"", Sys.CPU_NAME, "\"}",
    )
end
