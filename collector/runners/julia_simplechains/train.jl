# A model in training: one step, one evaluation. The loop around them is that of every Julia runner, _julia/loop.jl.
#
# SimpleChains' own train! functions choose batches by themselves, begin their optimizer anew with every call, and have
# Adam only. So a step is its `valgrad!` and a rule of Optimisers.jl on the vector of parameters.

import Optimisers
using SimpleChains: LogitCrossEntropyLoss, add_loss, correct_count_and_loss, valgrad!
import VectorizedRNG

"Everything that training changes, and what it starts from."
mutable struct Trainer{Chain,Rule,State}
    chain::Chain
    layers::Vector{Layer}
    rule::Rule
    parameters::Vector{Float32}
    gradient::Vector{Float32}
    state::State
    evaluates::Bool
    loss_sum::Float64
end

"Build model and optimizer of `trial`, starting from `weights`; `shape` is that of an image."
function build_trainer(
    trial::Trial, weights, shape; dropout_rate::Float64, learning_rate = number(trial, "optimizer.learning_rate"),
)
    chain, layers = build_model(trial, shape, dropout_rate)
    parameters, rule = flat_vector(layers, weights), build_rule(trial, learning_rate)
    state = Optimisers.setup(rule, parameters)
    trainer = Trainer(chain, layers, rule, parameters, zero(parameters), state, false, 0.0)
    return reset!(trainer, weights, trial)
end

"Put weights, optimizer and random state to where training starts."
function reset!(trainer::Trainer, weights, trial::Trial)
    copyto!(trainer.parameters, flat_vector(trainer.layers, weights))
    trainer.state = Optimisers.setup(trainer.rule, trainer.parameters)
    trainer.evaluates, trainer.loss_sum = false, 0.0
    VectorizedRNG.seed!(integer(trial, "seed"))      # its generator draws the dropout masks
    return trainer
end

parameter_count(trainer::Trainer) = length(trainer.parameters)

"Do one training step; add the loss of its examples to the sum."
function step!(trainer::Trainer, batch::Examples)
    trainer.loss_sum += loss_and_gradient!(trainer, batch)
    apply!(trainer, trainer.gradient)
    return nothing
end

"Put the gradient of the mean loss of `batch` into the trainer; return the loss summed over its examples."
function loss_and_gradient!(trainer::Trainer, batch::Examples)
    chain = add_loss(trainer.chain, LogitCrossEntropyLoss(batch.labels))
    loss_sum = valgrad!(trainer.gradient, chain, input_of(chain, batch.images), trainer.parameters)
    trainer.gradient ./= length(batch)      # that of the sum, until here
    return Float64(loss_sum)
end

"Do one update."
function apply!(trainer::Trainer, gradient)
    trainer.state, trainer.parameters = Optimisers.update!(trainer.state, trainer.parameters, gradient)
    return nothing
end

"Return the summed training loss since the last call, and begin a new sum."
function take_loss_sum!(trainer::Trainer)
    loss_sum, trainer.loss_sum = trainer.loss_sum, 0.0
    return loss_sum
end

"Return the summed loss and the number of correct predictions on `test`, in evaluation mode."
function evaluate!(trainer::Trainer, test)
    loss_sum, correct = 0.0, 0
    for batch in test
        chain = add_loss(trainer.chain, LogitCrossEntropyLoss(batch.labels))
        count, loss = correct_count_and_loss(chain, input_of(chain, batch.images), trainer.parameters)
        correct += count
        loss_sum += Float64(loss) * length(batch)
    end
    return loss_sum, Int(correct)
end

"Return the logits of `images` in evaluation mode: a chain that is called without a gradient has no other."
evaluated_logits(trainer::Trainer, images) = trainer.chain(input_of(trainer.chain, images), trainer.parameters)

"Return the predicted class of each example."
infer(trainer::Trainer, batch::Examples) =
    [argmax(column) for column in eachcol(evaluated_logits(trainer, batch.images))]

evaluation_mode!(trainer::Trainer) = (trainer.evaluates = true)

include(joinpath(@__DIR__, "..", "_julia", "loop.jl"))
