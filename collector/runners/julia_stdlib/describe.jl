# What --describe prints.

using Libdl: dlopen, dllist, dlsym
using LinearAlgebra      # loads OpenBLAS where it is not part of the system image

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

"Return OpenBLAS's version and the kernels it chose, or `unknown` with another BLAS."
function blas_description()
    place = findfirst(path -> occursin("openblas", basename(path)), dllist())
    place === nothing && return "unknown"
    library = dlopen(dllist()[place])
    configuration = call_for_text(library, :openblas_get_config)
    return join([split(configuration)[1:2]; call_for_text(library, :openblas_get_corename)], " ")
end

"Call the function `name` of OpenBLAS, whose names end in `64_` where indices have 64 bits."
function call_for_text(library::Ptr, name::Symbol)
    wide = dlsym(library, Symbol(name, "64_"); throw_error = false)
    address = wide === nothing ? dlsym(library, name) : wide
    return unsafe_string(ccall(address, Ptr{UInt8}, ()))
end
