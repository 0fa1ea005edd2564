# What the equivalence gate looks at: gradients and weights by their names.

"Return the logits of `images`, in the mode the model is in, and the mean loss of logits."
logits_of(trainer::Trainer, images) = trainer.model(images)
loss_of(logits, labels) = logitcrossentropy(logits, labels)

gradient_of(trainer::Trainer, batch::Examples) = first(last(loss_and_gradient(trainer, batch)))
apply!(trainer::Trainer, gradient) = update!(trainer.state, trainer.model, gradient)
weights_of(trainer::Trainer) = trainer.model

"Put arrays by their names, in the layout of files, into a gradient, and return it."
function fill_gradient!(gradient, trainer::Trainer, arrays)
    for place in parameter_places(trainer.model, trainer.names)
        copyto!(array_at(gradient, place), given_array(arrays, place, trainer.model))
    end
    return gradient
end

named_parameters(trainer::Trainer, tree) = named(tree, parameter_places(trainer.model, trainer.names))
named_statistics(trainer::Trainer) = named(trainer.model, statistics_places(trainer.model, trainer.names))

"Return names and arrays, in the layout of files, of what a tree holds at `places`."
named(tree, places) = [place.name => canonical(array_at(tree, place)) for place in places]

include(joinpath(@__DIR__, "..", "_julia", "proof.jl"))
