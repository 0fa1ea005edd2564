# What a trial trains on, as batches: resident on the device in the given order, or drawn by the framework's own loader.
#
# A runner that includes this says before how things reach its device (`to_device`) and what its loss takes as labels
# (`encode_labels`); one with a loader has `DataLoader` in scope, called as MLUtils' and Flux's own are.

using Random: MersenneTwister

"Everything that the files of a trial hold."
struct Files
    train::RawSet
    test::RawSet
    order::Matrix{Int32}
    weights::Dict{String,Array{Float32}}
end

"Read the files that `trial` names, apart from what only the gate needs."
function read_files(trial::Trial)
    train = read_set(trial, "train")
    return Files(train, read_set(trial, "test"), read_order(trial, length(train)), read_weights(text(trial, "weights")))
end

"Width, height and channels of the images of `files`."
image_shape(files::Files) = size(files.train.images)[1:3]

"Standardised images, width × height × channels × examples, and labels as the loss takes them, on the device."
struct Examples{Images,Labels}
    images::Images
    labels::Labels
end

Base.length(examples::Examples) = last(size(examples.labels))
Base.getindex(examples::Examples, places) = Examples(examples.images[:, :, :, places], pick(examples.labels, places))

pick(labels::AbstractVector, places) = labels[places]
pick(labels::AbstractMatrix, places) = labels[:, places]

"Images as published, in host memory, each batch of which is decoded when it is asked for."
struct Encoded
    raw::RawSet
    levels::Matrix{Float32}
    classes::Int
end

function Encoded(trial::Trial, raw::RawSet)
    levels = standardised_levels(numbers(trial, "data.mean"), numbers(trial, "data.std"))
    return Encoded(raw, levels, integer(trial, "data.classes"))
end

Base.length(encoded::Encoded) = length(encoded.raw)
Base.getindex(encoded::Encoded, places) =
    decode(encoded, encoded.raw.images[:, :, :, places], encoded.raw.labels[places])

"Standardise `images` and put them and their labels on the device."
decode(encoded::Encoded, images, labels) =
    Examples(to_device(standardise(images, encoded.levels)), to_device(encode_labels(labels, encoded.classes)))

"Return all examples, decoded and resident on the device."
resident(encoded::Encoded) = decode(encoded, encoded.raw.images, encoded.raw.labels)

"The batches that the framework's own loader draws, shuffled anew in every epoch, and the time spent waiting for them."
mutable struct Stream{Loader}
    encoded::Encoded
    loader::Loader
    position::Any
    waited_ns::Int
end

Stream(encoded::Encoded, batch_size::Int, seed::Int) = Stream(
    encoded,
    DataLoader(
        (encoded.raw.images, encoded.raw.labels);
        batchsize = batch_size, shuffle = true, partial = true, rng = MersenneTwister(seed),
    ),
    nothing, 0,
)

"Return the next batch; the one with `number` 1 begins an epoch."
function next!(stream::Stream, number::Int)
    start_ns = time_ns()
    drawn = number == 1 ? iterate(stream.loader) : iterate(stream.loader, stream.position)
    (images, labels), stream.position = something(drawn)
    batch = decode(stream.encoded, images, labels)
    stream.waited_ns += time_ns() - start_ns
    return batch
end

"""
The training set cut into batches of `size`; an epoch's last one may be smaller.

The order is the given one, but with a stream, which draws its own.
"""
mutable struct Batches{Source,Drawn}
    source::Source
    order::Matrix{Int32}
    size::Int
    stream::Drawn
end

Batches(source, order::Matrix{Int32}, size::Int) = Batches(source, order, size, nothing)

"Return the batches that `trial` asks for."
function place_batches(trial::Trial, raw::RawSet, order::Matrix{Int32})
    encoded, size = Encoded(trial, raw), integer(trial, "batch_size")
    text(trial, "loader") == "resident" && return Batches(resident(encoded), order, size)
    return Batches(encoded, order, size, Stream(encoded, size, integer(trial, "seed")))
end

"Let a stream begin its shuffles again."
restart!(batches::Batches{<:Any,Nothing}, seed::Int) = batches
function restart!(batches::Batches, seed::Int)
    batches.stream = Stream(batches.source, batches.size, seed)
    return batches
end

batch_count(batches::Batches) = cld(size(batches.order, 1), batches.size)

"Return how many examples the batches of these numbers hold."
example_count(batches::Batches, numbers) =
    sum(length(batch_range(number, batches.size, size(batches.order, 1))) for number in numbers)

"Gather batch `number` of the order's column `epoch`."
function gather_batch(batches::Batches, epoch::Int, number::Int)
    places = batches.order[batch_range(number, batches.size, size(batches.order, 1)), epoch] .+ 1
    return batches.source[places]
end

"Return batch `number` of `epoch` as training meets it: that of the order, or the stream's next."
next_batch!(batches::Batches{<:Any,Nothing}, epoch::Int, number::Int) = gather_batch(batches, epoch, number)
next_batch!(batches::Batches, epoch::Int, number::Int) = next!(batches.stream, number)

"Return the seconds waited for batches since the last call."
take_waited_s!(batches::Batches{<:Any,Nothing}) = 0.0
function take_waited_s!(batches::Batches)
    waited_ns, batches.stream.waited_ns = batches.stream.waited_ns, 0
    return waited_ns / 1e9
end

"Yield the batches of every epoch of the order."
in_order(batches::Batches) =
    (gather_batch(batches, epoch, number) for epoch in 1:size(batches.order, 2) for number in 1:batch_count(batches))

"Return `examples` cut into batches, so that evaluation does not gather."
cut(examples::Examples, size::Int) =
    [examples[batch_range(n, size, length(examples))] for n in 1:cld(length(examples), size)]
