"Read CIFAR-10 as first published: files of a label in one byte and 3 × 32 × 32 unsigned bytes, again and again."
module Cifar10

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export Cifar10Error, read_batches

const IMAGE = (32, 32, 3)      # width, height, channels: the bytes' own order, fastest first

"A file that is not the CIFAR-10 that was expected."
struct Cifar10Error <: Exception
    message::String
end

Base.showerror(io::IO, mistake::Cifar10Error) = print(io, "Cifar10Error: ", mistake.message)

"Read the files at `paths`, in order: images as width × height × channels × examples, and labels."
function read_batches(paths)
    records = reduce(hcat, [read_records(path) for path in paths])
    return reshape(records[2:end, :], IMAGE..., :), Int32.(records[1, :])
end

"Return the file at `path` as one column for each example."
function read_records(path::String)
    bytes, size = read(path), 1 + prod(IMAGE)
    (isempty(bytes) || length(bytes) % size != 0) && throw(
        Cifar10Error("$path: holds $(length(bytes)) bytes; expected a multiple of $size: a label and its image"),
    )
    return reshape(bytes, size, :)
end

end
