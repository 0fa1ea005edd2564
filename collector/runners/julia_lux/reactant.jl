# Variant reactant: Enzyme's gradients and the optimizer, compiled by XLA into one program for each size of batch.

import Enzyme, Reactant

Reactant.set_default_backend("cpu")

const BACKEND = Lux.AutoEnzyme()
const DEVICE = Lux.reactant_device(; force = true)

to_variant(tree) = DEVICE(tree)

"Return when the trainer's parameters are computed: calls of compiled programs return before that."
synchronise(trainer::Trainer) = wait_for(trainer.state.parameters)
synchronise(_) = nothing

wait_for(tree::NamedTuple) = foreach(wait_for, values(tree))
wait_for(array::AbstractArray) = Reactant.synchronize(array)

host_number(loss) = Float64(Reactant.to_number(loss))

"""
Return the training state for a batch of `size` examples: the newest one, with the program compiled for that size.

A training state keeps one compiled program, and would run it on batches of any size.
"""
function state_for(trainer, size)
    known, state = get(trainer.by_size, size, nothing), trainer.state
    if known === nothing
        state = @set state.cache = nothing
        return @set state.objective_function = nothing
    end
    known = @set known.parameters = state.parameters
    known = @set known.states = state.states
    known = @set known.optimizer_state = state.optimizer_state
    return @set known.step = state.step
end

"Return the logits of `images` and the states after `states`, by a program compiled for this size and mode."
function forward(trainer, images, states)
    model, parameters, moved = trainer.state.model, trainer.state.parameters, DEVICE(images)
    program = get!(trainer.programs, (size(images), trainer.evaluates)) do
        Reactant.@compile model(moved, parameters, states)
    end
    logits, after = program(moved, parameters, states)
    return Array(logits), after
end
