# What the equivalence gate looks at: gradients and weights by their names.

loss_of(logits, labels) = LOSS(logits, labels)

"Return the gradient of the loss of `batch`, a tree shaped like the parameters. The state remembers its backend."
function gradient_of(trainer::Trainer, batch::Examples)
    data = (to_variant(batch.images), to_variant(batch.labels))
    gradient, _, _, trainer.state = Training.compute_gradients(BACKEND, LOSS, data, trainer.state)
    return gradient
end

apply!(trainer::Trainer, gradient) = (trainer.state = Training.apply_gradients!(trainer.state, gradient))
weights_of(trainer::Trainer) = trainer.state.parameters

"Return a gradient of arrays by their names, in the layout of files."
fill_gradient!(_, trainer::Trainer, arrays) = to_variant(filled(trainer.state.parameters, arrays))

named_parameters(::Trainer, tree) = named_arrays(tree, field -> true)
named_statistics(trainer::Trainer) =
    named_arrays(trainer.state.states, field -> field in (:running_mean, :running_var))

include(joinpath(@__DIR__, "..", "_julia", "proof.jl"))
