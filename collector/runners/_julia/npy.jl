"""
Arrays in files, as NumPy 1.0 `.npy` in C order.

C order of shape `(a, b)` and Julia's own order of size `(b, a)` are the same bytes. So nothing is
transposed: the axes only read in the opposite direction, and NumPy's `weight[out, in]` is
`weight[in, out]` here.
"""
module Npy

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export NpyError, read_npy, write_npy

const MAGIC = "\x93NUMPY\x01\x00"
const HEADER_BLOCK = 64

"A file that is not the `.npy` that was expected."
struct NpyError <: Exception
    message::String
end

Base.showerror(io::IO, mistake::NpyError) = print(io, "NpyError: ", mistake.message)

"Throw an `NpyError`. Messages are put together here, so that reading a good file compiles none."
@noinline fail(@nospecialize(parts...)) = throw(NpyError(string(parts...)))

"NumPy's name of the element type."
descriptor(::Type{Float32}) = "<f4"
descriptor(::Type{Float64}) = "<f8"
descriptor(::Type{Int32}) = "<i4"

"""
    read_npy(Array{T,N}, path)

Read the array of element type `T` and `N` axes at `path`, axes in the opposite direction.
"""
function read_npy(::Type{Array{T,N}}, path::String) where {T,N}
    file = open(path)
    try
        shape = read_shape(file, path, descriptor(T), N)
        array = Array{T}(undef, ntuple(axis -> shape[N + 1 - axis], N))
        present = filesize(path) - position(file)
        present == sizeof(array) || fail(path, ": holds ", present, " bytes of data; expected ", sizeof(array))
        return read!(file, array)
    finally
        close(file)
    end
end

"""
    read_npy(Array{T}, path)

Read the array of element type `T` and any number of axes at `path`, axes in the opposite direction.
"""
function read_npy(::Type{Array{T}}, path::String) where {T}
    axes = open(file -> length(read_shape(file, path, descriptor(T), nothing)), path)
    return read_npy(Array{T,axes}, path)
end

"Read the header; return the shape, once it is what was expected; `axes` is their number, or nothing for any."
function read_shape(file::IOStream, path::String, type::String, axes)
    String(read(file, sizeof(MAGIC))) == MAGIC || fail(path, ": is not a .npy file of version 1.0")
    header = String(read(file, ltoh(read(file, UInt16))))
    occursin("'descr': '$type'", header) || fail(path, ": expected elements of type ", type, ", got ", header)
    occursin("'fortran_order': False", header) || fail(path, ": expected C order, got ", header)
    shape = parse_shape(header)
    (axes === nothing || length(shape) == axes) || fail(path, ": expected ", axes, " axes, got ", header)
    return shape
end

"Return the numbers between the brackets of `'shape': (…)`; none if there are no brackets."
function parse_shape(header::String)
    shape = Int[]
    opened = findfirst(isequal('('), header)
    closed = findlast(isequal(')'), header)
    (opened === nothing || closed === nothing) && return shape
    for extent in split(SubString(header, opened + 1, closed - 1), ',')
        stripped = strip(extent)
        isempty(stripped) || push!(shape, parse(Int, stripped))
    end
    return shape
end

"Write `array` to `path`, axes in the opposite direction."
function write_npy(path::String, array::Array{T}) where {T<:Union{Float32,Float64,Int32}}
    shape = string(reverse(size(array)))    # Julia writes tuples as Python does
    header = "{'descr': '$(descriptor(T))', 'fortran_order': False, 'shape': $shape, }"
    padding = mod(-(sizeof(MAGIC) + 2 + length(header) + 1), HEADER_BLOCK)
    open(path, "w") do file
        write(file, MAGIC, htol(UInt16(length(header) + padding + 1)), header, ' '^padding, '\n')
        write(file, array)
    end
    return nothing
end

end
