"Read the IDX files in which MNIST and its kin are published."
module Idx

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export IdxError, read_images, read_labels, read_array

"First four bytes of a file of unsigned bytes; the last of them is the number of axes."
const UNSIGNED_BYTES = 0x00000800

"The same of a file of big-endian Int32."
const INTEGERS = 0x00000c00

"A file that is not the IDX that was expected."
struct IdxError <: Exception
    message::String
end

Base.showerror(io::IO, mistake::IdxError) = print(io, "IdxError: ", mistake.message)

"Throw an `IdxError`. Messages are put together here, so that reading a good file compiles none."
@noinline fail(@nospecialize(parts...)) = throw(IdxError(string(parts...)))

"Read the images at `path` as pixels × examples."
function read_images(path::String)
    extents, bytes = read_idx(path, 3)
    return reshape(bytes, (extents[2] * extents[3], extents[1]))
end

"Read the labels at `path`."
read_labels(path::String) = read_idx(path, 1)[2]

"""
Read the array of unsigned bytes or of Int32 at `path`, with any number of axes, in the opposite direction.

Images (examples, height, width) become width × height × examples: the same bytes.
"""
function read_array(path::String)
    content = read(path)
    length(content) >= 4 || fail(path, ": holds ", length(content), " bytes; expected an IDX file")
    magic = ntoh(reinterpret(UInt32, content[1:4])[1])
    kind, axes = magic & 0xffffff00, Int(magic & 0xff)
    kind == UNSIGNED_BYTES || kind == INTEGERS ||
        fail(path, ": starts with ", repr(magic), "; expected IDX of bytes, 0x000008, or Int32, 0x00000c")
    data = 4 + 4axes
    length(content) >= data || fail(path, ": holds ", length(content), " bytes; expected a header of ", data)
    extents = reverse(Int.(ntoh.(reinterpret(UInt32, content[5:data]))))
    expected = prod(extents) * (kind == INTEGERS ? 4 : 1)
    length(content) - data == expected ||
        fail(path, ": holds ", length(content) - data, " bytes of data; expected ", expected)
    bytes = content[(data + 1):end]
    kind == UNSIGNED_BYTES && return reshape(bytes, extents...)
    return reshape(ntoh.(reinterpret(Int32, bytes)), extents...)
end

"Return the extents along the `axes` axes of the file at `path`, and its bytes."
function read_idx(path::String, axes::Int)
    file = open(path)
    try
        filesize(path) < 4 + 4axes && fail(path, ": holds ", filesize(path), " bytes; expected a header of ", 4 + 4axes)
        magic = ntoh(read(file, UInt32))
        expected = UNSIGNED_BYTES + UInt32(axes)
        magic == expected || fail(path, ": starts with ", repr(magic), "; expected ", repr(expected))
        extents = Vector{Int}(undef, axes)
        for axis in 1:axes
            extents[axis] = ntoh(read(file, UInt32))
        end
        bytes = read(file)
        length(bytes) == prod(extents) || fail(path, ": holds ", length(bytes), " bytes of data; expected ", extents)
        return extents, bytes
    finally
        close(file)
    end
end

end
