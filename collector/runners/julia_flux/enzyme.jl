# Variant enzyme: gradients by Enzyme, which Flux 0.16 asks where a model comes with a shadow.

import Enzyme

"Return what a gradient is taken of: `model`, and beside it the memory that every step's gradient is written into."
differentiated(model) = Enzyme.Duplicated(model, Enzyme.make_zero(model))
