"""
What a trial trains on, for runners whose images are width × height × channels × examples.

That is the order of the files' bytes: nothing is transposed. Indices and labels are counted from 0, as in the files.
"""
module Datasets

Base.Experimental.@optlevel 1     # runs once

export RawSet, read_set, read_weights, standardised_levels, standardise

using ..Trials: Trial, TrialError, integer, numbers, text
using ..Npy: read_npy
using ..Idx: read_array
using ..Cifar10: read_batches

"Images as published, width × height × channels × examples, and their labels."
struct RawSet
    images::Array{UInt8,4}
    labels::Vector{Int32}
end

Base.length(raw::RawSet) = length(raw.labels)

@noinline fail(@nospecialize(parts...)) = throw(TrialError(string(parts...)))

"Read one half (`train` or `test`) of the data set that `trial` names."
function read_set(trial::Trial, half::String)
    raw = text(trial, "data.format") == "cifar10_binary" ? read_cifar10(trial, half) : read_idx(trial, half)
    size(raw.images, 4) == length(raw) ||
        fail("data.", half, ": ", length(raw), " labels for ", size(raw.images, 4), " images")
    classes = integer(trial, "data.classes")
    for label in raw.labels
        0 <= label < classes || fail("data.", half, ": label ", label, "; expected 0 to ", classes - 1)
    end
    channels = length(numbers(trial, "data.mean"))
    size(raw.images, 3) == channels ||
        fail("data.mean: ", channels, " numbers; expected ", size(raw.images, 3), ", the channels of data.", half)
    return raw
end

read_cifar10(trial::Trial, half::String) =
    RawSet(read_batches(String.(trial["data." * half * "_batches"]))...)

function read_idx(trial::Trial, half::String)
    path = text(trial, "data." * half * "_images")
    images = read_array(path)
    eltype(images) == UInt8 && ndims(images) in (3, 4) ||
        fail(path, ": ", ndims(images), " axes of ", eltype(images), "; expected 3 or 4 of unsigned bytes")
    width, height, examples = size(images, 1), size(images, 2), size(images, ndims(images))
    labels = read_array(text(trial, "data." * half * "_labels"))
    ndims(labels) == 1 || fail(text(trial, "data." * half * "_labels"), ": ", ndims(labels), " axes; expected 1")
    return RawSet(reshape(images, width, height, :, examples), Int32.(labels))
end

"Read every `<layer>.<parameter>.npy` of `folder`, by `<layer>.<parameter>`; axes in the opposite direction."
function read_weights(folder::String)
    weights = Dict{String,Array{Float32}}()
    for file in readdir(folder)
        endswith(file, ".npy") && (weights[file[1:(end - 4)]] = read_npy(Array{Float32}, joinpath(folder, file)))
    end
    return weights
end

"Return `(pixel / 255 - mean) / std` of every pixel value from 0, by channel, in Float32."
standardised_levels(mean::Vector{Float64}, std::Vector{Float64}) = Float32[
    (pixel / 255.0f0 - Float32(mean[channel])) / Float32(std[channel]) for pixel in 0:255, channel in 1:length(mean)
]

"Return `images` in Float32, each pixel looked up in the `levels` of its channel."
function standardise(images::AbstractArray{UInt8,4}, levels::Matrix{Float32})
    result = Array{Float32}(undef, size(images))
    width, height, channels, examples = size(images)
    @inbounds for example in 1:examples, channel in 1:channels, row in 1:height, column in 1:width
        result[column, row, channel, example] = levels[images[column, row, channel, example] + 1, channel]
    end
    return result
end

end
