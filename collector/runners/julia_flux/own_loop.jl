# A step as Flux's documentation writes it where more is wanted than Flux.train!: the gradient, then the update.

"Do one training step; add the loss of its examples to the sum."
function step!(trainer::Trainer, batch::Examples)
    loss, (gradient,) = loss_and_gradient(trainer, batch)
    update!(trainer.state, trainer.model, gradient)
    trainer.loss_sum += loss * length(batch)
    return nothing
end
