# What a trial trains on: read from files, standardised once, resident in memory.

include(joinpath(@__DIR__, "..", "_julia", "trial.jl"))
include(joinpath(@__DIR__, "..", "_julia", "npy.jl"))
include(joinpath(@__DIR__, "..", "_julia", "order.jl"))
include(joinpath(@__DIR__, "..", "_julia", "idx.jl"))
using .Trials, .Npy, .Orders, .Idx, .Models

"Number of classes of MNIST and its kin."
const CLASSES = 10

"Images as published (pixels × examples) and their labels."
struct RawSet
    images::Matrix{UInt8}
    labels::Vector{UInt8}
end

"Standardised images (pixels × examples) and their labels, from 1."
struct Examples
    images::Matrix{Float32}
    labels::Vector{Int32}
end

Base.length(examples::Examples) = length(examples.labels)

"Throw a `TrialError`; see there."
@noinline fail(@nospecialize(parts...)) = throw(TrialError(string(parts...)))

"Read the IDX files of one half (`train` or `test`) of the data set that `trial` names."
function read_set(trial::Trial, half::String)
    images = read_images(text(trial, "data." * half * "_images"))
    labels_path = text(trial, "data." * half * "_labels")
    labels = read_labels(labels_path)
    size(images, 2) == length(labels) ||
        fail(labels_path, ": ", length(labels), " labels for ", size(images, 2), " images")
    for label in labels
        label < CLASSES || fail(labels_path, ": label ", label, "; expected 0 to ", CLASSES - 1)
    end
    return RawSet(images, labels)
end

"Return `(pixel / 255 - mean) / std` for every pixel value from 0, in Float32."
function standardised_levels(mean::Float64, std::Float64)
    levels = Vector{Float32}(undef, 256)
    for level in 0:255
        levels[level + 1] = (level / 255.0f0 - Float32(mean)) / Float32(std)
    end
    return levels
end

"Return the examples of `raw` from `first` to `last`, standardised by looking each pixel up in `levels`."
function standardise(raw::RawSet, levels::Vector{Float32}, first::Int = 1, last::Int = length(raw.labels))
    images = Matrix{Float32}(undef, size(raw.images, 1), last - first + 1)
    labels = Vector{Int32}(undef, last - first + 1)
    @inbounds for column in eachindex(labels)
        example = first + column - 1
        labels[column] = raw.labels[example] + 1
        for pixel in axes(images, 1)
            images[pixel, column] = levels[raw.images[pixel, example] + 1]
        end
    end
    return Examples(images, labels)
end

"Return the test set cut into batches, so that evaluation neither copies nor gathers."
function standardised_batches(raw::RawSet, levels::Vector{Float32}, batch_size::Int)
    batches = Examples[]
    examples = length(raw.labels)
    for first in 1:batch_size:examples
        push!(batches, standardise(raw, levels, first, min(first + batch_size - 1, examples)))
    end
    return batches
end

"Read `<folder>/<layer>.<parameter>.npy` of every layer."
read_model(folder::String) = Mlp(read_layer(folder, "hidden"), read_layer(folder, "output"))

function read_layer(folder::String, name::String)
    weight = read_npy(Matrix{Float32}, joinpath(folder, name * ".weight.npy"))
    bias = read_npy(Vector{Float32}, joinpath(folder, name * ".bias.npy"))
    size(weight, 2) == length(bias) ||
        fail(folder, ": ", name, " has ", size(weight, 2), " rows of weights and ", length(bias), " biases")
    return Dense(weight, bias)
end
