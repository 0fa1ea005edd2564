# A model in training: one step, one evaluation. The loop around them is that of every Julia runner, _julia/loop.jl.

using Lux: CrossEntropyLoss, Training
using Random: MersenneTwister
using Setfield: @set

"The mean over the examples, from logits; and the sum."
const LOSS = CrossEntropyLoss(; logits = Val(true))
const LOSS_SUM = CrossEntropyLoss(; logits = Val(true), agg = sum)

"Everything that training changes, and what it starts from."
mutable struct Trainer
    rule::Any
    state::Training.TrainState
    evaluates::Bool
    losses::Vector{Tuple{Any,Int}}           # of the steps since they were last summed: loss and examples
    by_size::Dict{Int,Training.TrainState}   # the last state after a batch of each size, with what was compiled for it
    programs::Dict{Any,Any}                  # compiled forward passes
end

"Build model and optimizer of `trial`, starting from `weights`; `shape` is that of an image."
function build_trainer(
    trial::Trial, weights, shape; dropout_rate::Float64, learning_rate = number(trial, "optimizer.learning_rate"),
)
    model, rule = build_model(trial, shape, dropout_rate), build_rule(trial, learning_rate)
    state = first_state(model, rule, weights, trial)
    return Trainer(rule, state, false, [], Dict{Int,Training.TrainState}(), Dict{Any,Any}())
end

"Return a new training state with `weights`, a fresh optimizer and random state."
function first_state(model, rule, weights, trial::Trial)
    parameters, states = Lux.setup(MersenneTwister(integer(trial, "seed")), model)
    parameters, states = to_variant(filled(parameters, weights)), to_variant(filled(states, weights))
    return Training.TrainState(model, parameters, states, rule)
end

"Put weights, optimizer and random state to where training starts; what was compiled stays."
function reset!(trainer::Trainer, weights, trial::Trial)
    trainer.state = first_state(trainer.state.model, trainer.rule, weights, trial)
    trainer.evaluates = false
    empty!(trainer.losses)
    synchronise(trainer)
    return trainer
end

"Return the number of trainable parameters."
parameter_count(trainer::Trainer) = Lux.parameterlength(trainer.state.parameters)

"Do one training step; keep the loss of its examples for the sum."
function step!(trainer::Trainer, batch::Examples)
    size = length(batch)
    data, state = (to_variant(batch.images), to_variant(batch.labels)), state_for(trainer, size)
    _, loss, _, state = Training.single_train_step!(BACKEND, LOSS, data, state; return_gradients = Val(false))
    trainer.state = trainer.by_size[size] = state
    push!(trainer.losses, (loss, size))
    return nothing
end

"Return the summed training loss since the last call, and begin a new sum."
function take_loss_sum!(trainer::Trainer)
    loss_sum = sum(host_number(loss) * examples for (loss, examples) in trainer.losses)
    empty!(trainer.losses)
    return loss_sum
end

"""
Return the logits of `images`, in the mode the trainer is in.

In training mode the states go on, as they do in a step: among them is what draws the next dropout masks.
"""
function logits_of(trainer::Trainer, images)
    state = trainer.state
    trainer.evaluates && return first(forward(trainer, images, Lux.testmode(state.states)))
    logits, states = forward(trainer, images, state.states)
    trainer.state = @set state.states = states
    return logits
end

"Return the summed loss and the number of correct predictions on `test`, in evaluation mode."
function evaluate!(trainer::Trainer, test)
    loss_sum, correct, trained = 0.0, 0, trainer.evaluates
    trainer.evaluates = true
    for batch in test
        logits = logits_of(trainer, batch.images)
        loss_sum += LOSS_SUM(logits, batch.labels)
        correct += sum(onecold(logits) .== onecold(batch.labels))
    end
    trainer.evaluates = trained
    return loss_sum, correct
end

"Return the predicted class of each example."
infer(trainer::Trainer, batch::Examples) = onecold(logits_of(trainer, batch.images))

"Let the model predict without dropout and by running statistics; `reset!` brings it back to training."
evaluation_mode!(trainer::Trainer) = (trainer.evaluates = true)

unsupported_more(::Trial) = ""

include(joinpath(@__DIR__, "..", "_julia", "loop.jl"))
