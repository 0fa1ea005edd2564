# A runner that trains nothing, to try what every runner shares: its loss is the pixel, its gradient what it is given.

to_device(array) = array
synchronise(_) = nothing
device_report() = ()
encode_labels(labels, classes::Int) = labels
decode_labels(labels) = labels

"Batches of tuples of arrays along their last axis, shuffled, as the loaders of frameworks draw them."
struct DataLoader
    arrays::Tuple
    batchsize::Int
    rng::Any
end

DataLoader(arrays; batchsize, shuffle, partial, rng) = DataLoader(arrays, batchsize, rng)

function Base.iterate(loader::DataLoader, (order, start) = (Random.randperm(loader.rng, length(loader.arrays[2])), 1))
    start > length(order) && return nothing
    places = order[start:min(start + loader.batchsize - 1, length(order))]
    return (loader.arrays[1][:, :, :, places], loader.arrays[2][places]), (order, start + loader.batchsize)
end

mutable struct Trainer
    rate::Float64
    weights::Vector{Float32}
    steps::Int
    loss_sum::Float64
    evaluates::Bool
end

build_trainer(trial, weights, shape; dropout_rate, learning_rate = number(trial, "optimizer.learning_rate")) =
    Trainer(learning_rate, zeros(Float32, 3), 0, 0.0, false)

function reset!(trainer::Trainer, weights, trial)
    fill!(trainer.weights, 0)
    trainer.steps, trainer.loss_sum, trainer.evaluates = 0, 0.0, false
    return trainer
end

parameter_count(trainer::Trainer) = length(trainer.weights)
pixels(batch) = round.(Int, vec(batch.images))
loss_of(logits, labels) = sum(logits) / length(logits)
logits_of(trainer::Trainer, images) = reshape(images, 1, :)
gradient_of(trainer::Trainer, batch) = ones(Float32, 3)
fill_gradient!(gradient, trainer::Trainer, arrays) = copyto!(gradient, arrays["owl.weight"])
apply!(trainer::Trainer, gradient) = (trainer.weights .-= trainer.rate .* gradient)
weights_of(trainer::Trainer) = trainer.weights
named_parameters(trainer::Trainer, values) = ["owl.weight" => values]
named_statistics(trainer::Trainer) = ()
evaluation_mode!(trainer::Trainer) = (trainer.evaluates = true)
infer(trainer::Trainer, batch) = batch.labels

function step!(trainer::Trainer, batch)
    trainer.steps += 1
    trainer.loss_sum += sum(pixels(batch)) * trainer.rate
    apply!(trainer, gradient_of(trainer, batch))
end

function take_loss_sum!(trainer::Trainer)
    loss_sum, trainer.loss_sum = trainer.loss_sum, 0.0
    return loss_sum
end

evaluate!(trainer::Trainer, test) = (sum(sum(pixels(batch)) for batch in test), sum(length, test))

unsupported_more(trial) = integer(trial, "seed") == 13 ? "seed: got 13" : ""
const SUPPORTED = ["model" => ["owl"]]

using Random: Random
for file in ("support", "batches", "loop", "proof", "run_stop")
    include(joinpath(@__DIR__, "..", file * ".jl"))
end

# Eleven images of one pixel, 1 to 11, each its own label; standardised they are what they were.
small_set() = RawSet(reshape(UInt8.(1:11), 1, 1, 1, 11), Int32.(1:11))
small_order() = Int32[0 10; 1 9; 2 8; 3 7; 4 6; 5 5; 6 4; 7 3; 8 2; 9 1; 10 0]

"A small trial whose files lie in a temporary folder, with some settings replaced."
function small_trial(changes...)
    folder = mktempdir()
    set = small_set()
    write(joinpath(folder, "images"), hton(0x00000803), hton.(UInt32[11, 1, 1]), vec(set.images))
    write(joinpath(folder, "labels"), hton(0x00000801), hton(UInt32(11)), UInt8.(set.labels))
    write_npy(joinpath(folder, "order.npy"), small_order())
    trial = Trial(
        "model" => "owl", "loader" => "resident", "loader_workers" => 0, "batch_size" => 4, "eval_batch_size" => 5,
        "seed" => 7, "mode" => "train", "evaluations_per_epoch" => 1, "chunks_per_epoch" => 3,
        "optimizer.learning_rate" => 1.0, "model.dropout_rate" => 0.0, "data.format" => "idx", "data.classes" => 12,
        "data.mean" => Any[0.0], "data.std" => Any[1 / 255], "weights" => mkdir(joinpath(folder, "weights")),
        "order" => joinpath(folder, "order.npy"),
    )
    for half in ("train", "test")
        trial["data." * half * "_images"], trial["data." * half * "_labels"] = joinpath.(folder, ("images", "labels"))
    end
    return merge(trial, Trial(changes...))
end

"The lines that a run of `trial` writes."
function events_of(trial)
    path, file = mktemp()
    run_trial(trial, EventLog(file), true)
    close(file)
    return readlines(path)
end

kinds(lines) = [match(r"\"kind\": \"(\w+)\"", line)[1] for line in lines]
