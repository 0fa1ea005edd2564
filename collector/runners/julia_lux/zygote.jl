# Variant zygote: arrays of Julia, gradients by Zygote, one operation after another.

import Zygote

const BACKEND = Lux.AutoZygote()

to_variant(tree) = tree
synchronise(_) = nothing
host_number(loss) = Float64(loss)

"Return the training state for a batch of `size` examples: always the same one."
state_for(trainer, size) = trainer.state

"Return the logits of `images` and the states after `states`."
forward(trainer, images, states) = trainer.state.model(images, trainer.state.parameters, states)
