# Variant train: Flux's own loop, Flux.train!, once for every piece of an epoch that is timed by itself.

step!(trainer::Trainer, batch::Examples) = steps!(trainer, (batch,))

"""
Do a training step with each of the batches `drawn`; add the losses of their examples to the sum.

Flux.train! returns no loss, so the loss function sums them. Since Flux 0.13 it throws where one is not finite: the sum
is not finite then either, and says so.
"""
function steps!(trainer::Trainer, drawn)
    function loss(model, images, labels)
        mean_loss = logitcrossentropy(model(images), labels)
        undifferentiated() do
            trainer.loss_sum += mean_loss * last(size(labels))
        end
        return mean_loss
    end
    try
        train_by_flux!(loss, trainer.model, ((batch.images, batch.labels) for batch in drawn), trainer.state)
    catch mistake
        mistake isa DomainError && !isfinite(trainer.loss_sum) || rethrow()
    end
    return nothing
end
