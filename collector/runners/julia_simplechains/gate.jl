# What the equivalence gate looks at: gradients and weights by their names.

using SimpleChains: SquaredLoss

"Return the logits of `images`, in the mode the trainer is in; only dropout makes a difference here."
function logits_of(trainer::Trainer, images)
    drops = any(layer -> layer isa Dropout, trainer.chain.layers)
    return drops && !trainer.evaluates ? dropped_logits(trainer, images) : Array(evaluated_logits(trainer, images))
end

"""
Return the logits of a pass with dropout, whose masks SimpleChains draws only where it also takes the gradient.

Half the squared distance to 0 has the logits themselves as its gradient with respect to the output's bias, which is
the end of the vector; of one example at a time, because the gradient is the sum over them.
"""
function dropped_logits(trainer::Trainer, images)
    classes = outputs(last(trainer.layers))
    chain = add_loss(trainer.chain, SquaredLoss(zeros(Float32, classes, 1)))
    gradient, inputs = zero(trainer.parameters), input_of(trainer.chain, images)
    columns = map(1:last(size(inputs))) do example
        valgrad!(gradient, chain, inputs[:, example:example], trainer.parameters)
        gradient[(end - classes + 1):end]
    end
    return reduce(hcat, columns)
end

"Return the mean loss of logits, by SimpleChains' own loss behind a layer that does nothing."
function loss_of(logits, labels)
    chain = SimpleChain((static(size(logits, 1)),), (Activation(identity), LogitCrossEntropyLoss(labels)))
    return Float64(first(chain(logits, Float32[])))
end

gradient_of(trainer::Trainer, batch::Examples) = (loss_and_gradient!(trainer, batch); copy(trainer.gradient))
fill_gradient!(gradient, trainer::Trainer, arrays) = copyto!(gradient, flat_vector(trainer.layers, arrays))
weights_of(trainer::Trainer) = trainer.parameters
named_parameters(trainer::Trainer, vector) = named_arrays(trainer.layers, vector)
named_statistics(::Trainer) = ()

include(joinpath(@__DIR__, "..", "_julia", "proof.jl"))
