# Mode gate: the parts of the equivalence gate, through the same functions that training uses.

"Write every parameter of `model` as `<prefix>.<layer>.<parameter>.npy`."
function write_model(folder::String, prefix::String, model::Mlp)
    for (name, layer) in layers(model)
        write_npy(joinpath(folder, "$prefix.$name.weight.npy"), layer.weight)
        write_npy(joinpath(folder, "$prefix.$name.bias.npy"), layer.bias)
    end
end

"Examples of one call in part G."
const DROPOUT_BATCH = 256

"Parts A to D, F and, with dropout, G; each from its weights and a fresh optimizer."
function prove!(session::Session, trial::Trial, weights::Mlp, batches::Batches, test::Vector{Examples})
    folder, seed = text(trial, "output"), integer(trial, "seed")
    prove_forward(reset!(session, weights, seed), folder, batches)
    prove_gradient(reset!(session, weights, seed), folder, batches)
    prove_optimizer(reset!(session, weights, seed), folder, text(trial, "gate.gradients"))
    prove_steps(reset!(session, weights, seed), folder, batches)
    prove_evaluation(reset!(session, read_model(text(trial, "gate.checkpoint")), seed), folder, test)
    rate = Float32(number(trial, "model.dropout_rate"))
    if rate > 0
        prove_dropout(reset!(session, weights, seed), folder, batches, rate, integer(trial, "gate.dropout_repeats"))
    end
end

"Part A: the loss of every batch with frozen weights, and the logits of the first batch."
function prove_forward(session::Session, folder::String, batches::Batches)
    losses = Float64[]
    for epoch in 1:size(batches.order, 2), number in 1:batch_count(batches)
        work = gather!(session, batches, epoch, number)
        logits = forward!(work, session.model, session.rng, session.dropout_rate)
        isempty(losses) && write_npy(joinpath(folder, "a.logits.npy"), logits)
        push!(losses, cross_entropy!(work.logits_gradient, logits, work.labels) / length(work.labels))
    end
    write_npy(joinpath(folder, "a.losses.npy"), losses)
end

"Part B: the gradient of the first batch."
function prove_gradient(session::Session, folder::String, batches::Batches)
    loss_and_gradient!(session, gather!(session, batches, 1, 1))
    write_model(folder, "b.gradient", session.gradient)
end

"Part C: an update with each of the given gradients, stacked along their last axis."
function prove_optimizer(session::Session, folder::String, gradients::String)
    given = [
        (
            layer,
            read_npy(Array{Float32,3}, joinpath(gradients, "$name.weight.npy")),
            read_npy(Array{Float32,2}, joinpath(gradients, "$name.bias.npy")),
        ) for (name, layer) in layers(session.gradient)
    ]
    for update in axes(given[1][2], 3)
        for (layer, weight, bias) in given
            copyto!(layer.weight, view(weight, :, :, update))
            copyto!(layer.bias, view(bias, :, update))
        end
        update!(session.optimizer, session.model, session.gradient)
    end
    write_model(folder, "c.weights", session.model)
end

"Part D: two training steps."
function prove_steps(session::Session, folder::String, batches::Batches)
    for step in 1:2
        train_step!(session, gather!(session, batches, 1, step))
        write_model(folder, "d.weights$step", session.model)
    end
end

"Part F: the evaluation of the weights in `session`."
function prove_evaluation(session::Session, folder::String, test::Vector{Examples})
    loss_sum, correct = evaluate!(session, test)
    logits = [copy(forward!(workspace(session, length(batch)), session.model, batch.images)) for batch in test]
    write_npy(joinpath(folder, "f.logits.npy"), reduce(hcat, logits))
    write_npy(joinpath(folder, "f.correct.npy"), Int32[correct])
    write_npy(joinpath(folder, "f.loss.npy"), [loss_sum / sum(length, test)])
end

"Part G: the logits of the first example again and again, each time with masks of its own."
function prove_dropout(session::Session, folder::String, batches::Batches, rate::Float32, repeats::Int)
    make_room!(session, DROPOUT_BATCH)
    work = workspace(session, DROPOUT_BATCH)
    work.images .= view(batches.examples.images, :, batches.order[1, 1] + 1)
    logits = [copy(forward!(work, session.model, session.rng, rate)) for _ in 1:(repeats ÷ DROPOUT_BATCH)]
    write_npy(joinpath(folder, "g.logits.npy"), reduce(hcat, logits))
end
