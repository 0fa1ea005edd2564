# Mode gate: the parts of the equivalence gate (contract §4), through the same functions that training uses.

"Examples of one call in part G."
const DROPOUT_BATCH = 256

"Write every part that `trial` asks for and the model has; return true."
function prove!(trainer::Trainer, trial::Trial, files::Files, batches::Batches, test, ::EventLog)
    parts, weights = text(trial, "gate.parts"), files.weights
    fresh() = reset!(trainer, weights, trial)
    rebuilt(; options...) = build_trainer(trial, weights, size(files.train.images)[1:3]; options...)
    'A' in parts && prove_forward(fresh(), trial, batches)
    'B' in parts && prove_gradient(fresh(), trial, batches)
    'C' in parts && prove_optimizer(fresh(), trial, batches)
    'D' in parts && prove_steps(fresh(), trial, batches)
    if 'E' in parts && !isempty(statistics_places(trainer.model, trainer.names))
        frozen = rebuilt(; dropout_rate = number(trial, "gate.dropout_rate"), learning_rate = 0.0)
        prove_statistics(frozen, trial, batches)
    end
    rate = number(trial, "model.dropout_rate")
    evaluated = rebuilt(; dropout_rate = rate)
    if 'F' in parts
        reset!(evaluated, read_weights(text(trial, "gate.checkpoint")), trial)
        prove_evaluation(evaluated, trial, test)
    end
    ('G' in parts && rate > 0) && prove_dropout(reset!(evaluated, weights, trial), trial, batches)
    'L' in parts && prove_stream(trial, restart!(batches, integer(trial, "seed")))
    integer(trial, "gate.traced_steps") > 0 && prove_losses(fresh(), trial, batches)
    return true
end

"Part A: the loss of every batch with frozen weights, and the logits of the first batch."
function prove_forward(trainer::Trainer, trial::Trial, batches::Batches)
    losses = Float64[]
    for batch in in_order(batches)
        logits = trainer.model(batch.images)
        isempty(losses) && write_array(trial, "a.logits", Array(logits))
        push!(losses, logitcrossentropy(logits, batch.labels))
    end
    write_array(trial, "a.losses", losses)
end

"Part B: the gradient of the first batch."
function prove_gradient(trainer::Trainer, trial::Trial, batches::Batches)
    _, (gradient,) = loss_and_gradient(trainer, gather_batch(batches, 1, 1))
    write_arrays(trial, "b.gradient", gradient, parameter_places(trainer.model, trainer.names))
end

"Part C: an update with each of the given gradients, stacked along their last axis."
function prove_optimizer(trainer::Trainer, trial::Trial, batches::Batches)
    given = read_weights(text(trial, "gate.gradients"))
    places = parameter_places(trainer.model, trainer.names)
    _, (gradient,) = loss_and_gradient(trainer, gather_batch(batches, 1, 1))      # a tree to write the given ones into
    for update in 1:size(given[first(places).name], ndims(given[first(places).name]))
        for place in places
            stacked = given[place.name]
            copyto!(array_at(gradient, place), canonical(collect(selectdim(stacked, ndims(stacked), update))))
        end
        update!(trainer.state, trainer.model, gradient)
    end
    write_arrays(trial, "c.weights", trainer.model, places)
end

"Part D: two training steps."
function prove_steps(trainer::Trainer, trial::Trial, batches::Batches)
    for step in 1:2
        step!(trainer, gather_batch(batches, 1, step))
        write_arrays(trial, "d.weights$step", trainer.model, parameter_places(trainer.model, trainer.names))
    end
end

"Part E: the running statistics after steps at a learning rate of 0."
function prove_statistics(trainer::Trainer, trial::Trial, batches::Batches)
    for batch in Iterators.take(in_order(batches), integer(trial, "gate.frozen_steps"))
        step!(trainer, batch)
    end
    write_arrays(trial, "e", trainer.model, statistics_places(trainer.model, trainer.names))
end

"Part F: the evaluation of the weights in `trainer`."
function prove_evaluation(trainer::Trainer, trial::Trial, test)
    loss_sum, correct = evaluate!(trainer, test)
    testmode!(trainer.model)
    write_array(trial, "f.logits", reduce(hcat, [Array(trainer.model(batch.images)) for batch in test]))
    trainmode!(trainer.model)
    write_array(trial, "f.correct", Int32[correct])
    write_array(trial, "f.loss", [loss_sum / sum(length, test)])
end

"Part G: the logits of the first example again and again, each time with masks of its own."
function prove_dropout(trainer::Trainer, trial::Trial, batches::Batches)
    batch = batches.source[fill(batches.order[1, 1] + 1, DROPOUT_BATCH)]
    calls = integer(trial, "gate.dropout_repeats") ÷ DROPOUT_BATCH
    write_array(trial, "g.logits", reduce(hcat, [Array(trainer.model(batch.images)) for _ in 1:calls]))
end

"Part L: one epoch of the loader, as the model is given it."
function prove_stream(trial::Trial, batches::Batches)
    drawn = [next_batch!(batches, 1, number) for number in 1:cld(length(batches.source), batches.size)]
    write_array(trial, "l.images", reduce((x, y) -> cat(x, y; dims = 4), [Array(batch.images) for batch in drawn]))
    write_array(trial, "l.labels", reduce(vcat, [Int32.(onecold(batch.labels) .- 1) for batch in drawn]))
end

"Part T: the loss of each of the first training steps."
function prove_losses(trainer::Trainer, trial::Trial, batches::Batches)
    losses = map(Iterators.take(in_order(batches), integer(trial, "gate.traced_steps"))) do batch
        step!(trainer, batch)
        take_loss_sum!(trainer) / length(batch)
    end
    write_array(trial, "t.losses", collect(losses))
end

"Yield the batches of every epoch of the order."
in_order(batches::Batches) =
    (gather_batch(batches, epoch, number) for epoch in 1:size(batches.order, 2) for number in 1:batch_count(batches))

"Write the arrays at `places` of a model or its gradient as `<prefix>.<layer>.<parameter>.npy`."
function write_arrays(trial::Trial, prefix::String, tree, places)
    for place in places
        write_array(trial, "$prefix.$(place.name)", canonical(array_at(tree, place)))
    end
end

write_array(trial::Trial, name::String, array::Array) = write_npy(joinpath(text(trial, "output"), "$name.npy"), array)
