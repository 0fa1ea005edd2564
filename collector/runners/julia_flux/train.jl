# A model in training: one step, one evaluation. The loop around them is that of every Julia runner, _julia/loop.jl.

using Flux: testmode!, trainmode!
using Flux.Losses: logitcrossentropy

"Everything that training changes, and what it starts from."
mutable struct Trainer{Model,Differentiated,State}
    model::Model
    differentiated::Differentiated      # the model as its gradient is taken
    names::Vector{String}
    learning_rate::Float64
    state::State
    loss_sum::Float64
end

"Build model and optimizer of `trial`, starting from `weights`; `shape` is that of an image."
function build_trainer(
    trial::Trial, weights, shape; dropout_rate::Float64, learning_rate = number(trial, "optimizer.learning_rate"),
)
    model, names = build_model(trial, shape, dropout_rate)
    model = to_device(model)
    state = setup(build_rule(trial, learning_rate), model)
    return reset!(Trainer(model, differentiated(model), names, learning_rate, state, 0.0), weights, trial)
end

"Put weights, optimizer and random state to where training starts."
function reset!(trainer::Trainer, weights, trial::Trial)
    model, names = trainer.model, trainer.names
    for place in [parameter_places(model, names); statistics_places(model, names)]
        copyto!(array_at(model, place), given_array(weights, place, model))
    end
    trainer.state = setup(build_rule(trial, trainer.learning_rate), model)
    trainer.loss_sum = 0.0
    trainmode!(model)
    seed_all!(integer(trial, "seed"))
    synchronise(trainer)
    return trainer
end

"Return the number of trainable parameters."
parameter_count(trainer::Trainer) =
    sum(length(array_at(trainer.model, place)) for place in parameter_places(trainer.model, trainer.names))

"Return the mean loss of `batch` and, in a tuple, its gradient."
loss_and_gradient(trainer::Trainer, batch::Examples) =
    withgradient(model -> logitcrossentropy(model(batch.images), batch.labels), trainer.differentiated)

"Return the summed training loss since the last call, and begin a new sum."
function take_loss_sum!(trainer::Trainer)
    loss_sum, trainer.loss_sum = trainer.loss_sum, 0.0
    return loss_sum
end

"Return the summed loss and the number of correct predictions on `test`, in evaluation mode."
function evaluate!(trainer::Trainer, test)
    loss_sum, correct = 0.0, 0
    testmode!(trainer.model)
    for batch in test
        logits = trainer.model(batch.images)
        loss_sum += logitcrossentropy(logits, batch.labels; agg = sum)
        correct += sum(onecold(logits) .== onecold(batch.labels))
    end
    trainmode!(trainer.model)
    return loss_sum, correct
end

"Return the predicted class of each example, on the device."
infer(trainer::Trainer, batch::Examples) = onecold(trainer.model(batch.images))

"Let the model predict without dropout and by running statistics; `reset!` brings it back to training."
evaluation_mode!(trainer::Trainer) = testmode!(trainer.model)

"Return why this Flux cannot do `trial`; empty if it can."
function unsupported_more(trial::Trial)
    variant = unsupported_variant(trial)
    return isempty(variant) ? unsupported_optimizer(trial) : variant
end

include(joinpath(@__DIR__, "..", "_julia", "loop.jl"))
