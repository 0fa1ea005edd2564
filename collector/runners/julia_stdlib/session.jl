# What a trial asks of this runner, and everything that training it changes.

using LinearAlgebra: BLAS
using Random: AbstractRNG, MersenneTwister, seed!

"What this runner can do; any other value of these keys is answered with `unsupported`."
const SUPPORTED = [
    "model" => ["mlp"],
    "loss" => ["softmax_cross_entropy"],
    "optimizer" => ["sgd", "adam"],
    "optimizer.schedule" => ["constant"],
    "device" => ["cpu"],
    "dtype" => ["fp32"],
    "loader" => ["resident"],
    "data.format" => ["idx"],
    "mode" => ["train", "steps", "gate"],
    "variant" => ["default"],
]

"Everything that training changes, and the arrays it works in."
struct Session{Optimizer,Generator<:AbstractRNG}
    model::Mlp
    gradient::Mlp
    optimizer::Optimizer
    rng::Generator
    dropout_rate::Float32
    workspaces::Vector{Workspace}
end

"The training set in its given order, cut into batches of `size`; an epoch's last one may be smaller."
struct Batches
    examples::Examples
    order::Matrix{Int32}
    size::Int
end

"Return why this runner cannot do `trial`; empty if it can."
function unsupported_reason(trial::Trial)
    for (key, values) in SUPPORTED
        given = text(trial, key)
        given in values || return string(key, ": got ", given, "; this runner supports ", join(values, ", "))
    end
    for (key, given) in ("model.hidden_layers" => integer(trial, "model.hidden_layers"),
                         "channels of data.mean" => length(numbers(trial, "data.mean")))
        given == 1 || return string(key, ": got ", given, "; this runner supports 1")
    end
    return ""
end

"""
Flush subnormal floats, which cost tens of cycles each in late epochs; return whether that worked.

BLAS starts its threads after that (`OPENBLAS_NUM_THREADS` is 1 in runner.toml), so they inherit it.
"""
function set_numerics(threads::Int)
    flushes_subnormals = set_zero_subnormals(true)
    BLAS.set_num_threads(threads)
    return flushes_subnormals
end

"Make the session of `trial`, with room for every batch that it will meet, starting from `weights`."
function build_session(trial::Trial, weights::Mlp, batches::Batches, test::Vector{Examples})
    units = size(weights.hidden.weight, 2)
    units == integer(trial, "model.hidden_units") ||
        fail("hidden.weight.npy: ", units, " units; expected ", integer(trial, "model.hidden_units"))
    model = zeros_like(weights)
    rate = number(trial, text(trial, "mode") == "gate" ? "gate.dropout_rate" : "model.dropout_rate")
    session = Session(
        model, zeros_like(model), build_optimizer(trial, model), MersenneTwister(0), Float32(rate), Workspace[])
    make_room!(session, batch_extent(batches, 1)[2])
    make_room!(session, batch_extent(batches, batch_count(batches))[2])
    for batch in test
        make_room!(session, length(batch))
    end
    return reset!(session, weights, integer(trial, "seed"))
end

"Return the optimizer that `trial` asks for, with every hyperparameter spelled out."
function build_optimizer(trial::Trial, model::Mlp)
    rate, decay = number(trial, "optimizer.learning_rate"), number(trial, "optimizer.weight_decay")
    if text(trial, "optimizer") == "sgd"
        return Sgd(rate, number(trial, "optimizer.momentum"), decay, zeros_like(model))
    end
    return Adam(
        rate, number(trial, "optimizer.beta1"), number(trial, "optimizer.beta2"),
        number(trial, "optimizer.epsilon"), decay, zeros_like(model), zeros_like(model), 0,
    )
end

"Put weights, optimizer and random state to where training starts."
function Models.reset!(session::Session, weights::Mlp, seed::Int)
    copy_parameters!(session.model, weights)
    reset!(session.optimizer)
    seed!(session.rng, seed)
    return session
end

"Make the workspace for batches of `examples` examples, unless there is one."
function make_room!(session::Session, examples::Int)
    for work in session.workspaces
        length(work.labels) == examples && return
    end
    push!(session.workspaces, Workspace(session.model, examples))
end

"Return the workspace for batches of `examples` examples."
function workspace(session::Session, examples::Int)
    for work in session.workspaces
        length(work.labels) == examples && return work
    end
    fail("a batch of ", examples, " examples; no workspace was made for that size")
end

"Return how many batches an epoch has."
batch_count(batches::Batches) = cld(size(batches.order, 1), batches.size)

"Return the first place in the order, from 1, and the number of examples of batch `number`."
function batch_extent(batches::Batches, number::Int)
    place = (number - 1) * batches.size + 1
    return place, min(batches.size, size(batches.order, 1) - place + 1)
end

"Copy batch `number` of the order's column `epoch` into the workspace of its size, and return that."
function gather!(session::Session, batches::Batches, epoch::Int, number::Int)
    place, count = batch_extent(batches, number)
    work = workspace(session, count)
    examples, order = batches.examples, batches.order
    pixels = size(work.images, 1)
    for column in 1:count
        example = order[place + column - 1, epoch] + 1
        work.labels[column] = examples.labels[example]
        copyto!(work.images, (column - 1) * pixels + 1, examples.images, (example - 1) * pixels + 1, pixels)
    end
    return work
end
