"Say which OpenBLAS this process computes with."
module BlasInfo

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export blas_description

using Libdl: dlopen, dllist, dlsym
using LinearAlgebra      # loads OpenBLAS where it is not part of the system image

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

end
