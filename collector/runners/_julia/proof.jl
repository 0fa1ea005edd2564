# Mode gate: the parts of the equivalence gate (contract §4), through the same functions that training uses.
#
# A runner that includes this defines for its own `Trainer`, beside what loop.jl asks for,
#
#     logits_of(trainer, images)           in the mode the trainer is in
#     loss_of(logits, labels)              mean over the examples
#     gradient_of(trainer, batch)          in the framework's own form
#     fill_gradient!(gradient, trainer, arrays)     the same with other values, by their names in the contract
#     apply!(trainer, gradient)            one update
#     named_parameters(trainer, values)    name and array, as files hold it, of everything in a gradient or in
#     weights_of(trainer)                  the weights, in the gradient's form
#     named_statistics(trainer)            the same of running statistics; none without batch norms
#     decode_labels(labels)                classes from 0 of what `encode_labels` made

"Examples of one call in part G."
const DROPOUT_BATCH = 256

"Write every part that `trial` asks for and the model has; return true."
function prove!(trainer, trial::Trial, files::Files, batches::Batches, test, ::EventLog)
    parts, weights = text(trial, "gate.parts"), files.weights
    fresh() = reset!(trainer, weights, trial)
    rebuilt(; options...) = build_trainer(trial, weights, image_shape(files); options...)
    'A' in parts && prove_forward(fresh(), trial, batches)
    'B' in parts && prove_gradient(fresh(), trial, batches)
    'C' in parts && prove_optimizer(fresh(), trial, batches)
    'D' in parts && prove_steps(fresh(), trial, batches)
    if 'E' in parts && !isempty(named_statistics(trainer))
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
function prove_forward(trainer, trial::Trial, batches::Batches)
    losses = Float64[]
    for batch in in_order(batches)
        logits = logits_of(trainer, batch.images)
        isempty(losses) && write_array(trial, "a.logits", Array(logits))
        push!(losses, loss_of(logits, batch.labels))
    end
    write_array(trial, "a.losses", losses)
end

"Part B: the gradient of the first batch."
function prove_gradient(trainer, trial::Trial, batches::Batches)
    gradient = gradient_of(trainer, gather_batch(batches, 1, 1))
    write_named(trial, "b.gradient", named_parameters(trainer, gradient))
end

"Part C: an update with each of the given gradients, stacked along their last axis."
function prove_optimizer(trainer, trial::Trial, batches::Batches)
    given = read_weights(text(trial, "gate.gradients"))
    gradient = gradient_of(trainer, gather_batch(batches, 1, 1))      # takes the given arrays, one set after another
    for update in 1:last(size(first(values(given))))
        one = Dict(name => collect(selectdim(stacked, ndims(stacked), update)) for (name, stacked) in given)
        apply!(trainer, fill_gradient!(gradient, trainer, one))
    end
    write_named(trial, "c.weights", named_parameters(trainer, weights_of(trainer)))
end

"Part D: two training steps."
function prove_steps(trainer, trial::Trial, batches::Batches)
    for step in 1:2
        step!(trainer, gather_batch(batches, 1, step))
        write_named(trial, "d.weights$step", named_parameters(trainer, weights_of(trainer)))
    end
end

"Part E: the running statistics after steps at a learning rate of 0."
function prove_statistics(trainer, trial::Trial, batches::Batches)
    for batch in Iterators.take(in_order(batches), integer(trial, "gate.frozen_steps"))
        step!(trainer, batch)
    end
    write_named(trial, "e", named_statistics(trainer))
end

"Part F: the evaluation of the weights in `trainer`."
function prove_evaluation(trainer, trial::Trial, test)
    loss_sum, correct = evaluate!(trainer, test)
    evaluation_mode!(trainer)
    write_array(trial, "f.logits", reduce(hcat, [Array(logits_of(trainer, batch.images)) for batch in test]))
    write_array(trial, "f.correct", Int32[correct])
    write_array(trial, "f.loss", [loss_sum / sum(length, test)])
end

"Part G: the logits of the first example again and again, each time with masks of its own."
function prove_dropout(trainer, trial::Trial, batches::Batches)
    batch = batches.source[fill(batches.order[1, 1] + 1, DROPOUT_BATCH)]
    calls = integer(trial, "gate.dropout_repeats") ÷ DROPOUT_BATCH
    write_array(trial, "g.logits", reduce(hcat, [Array(logits_of(trainer, batch.images)) for _ in 1:calls]))
end

"Part L: one epoch of the loader, as the model is given it."
function prove_stream(trial::Trial, batches::Batches)
    drawn = [next_batch!(batches, 1, number) for number in 1:cld(length(batches.source), batches.size)]
    write_array(trial, "l.images", reduce((x, y) -> cat(x, y; dims = 4), [Array(batch.images) for batch in drawn]))
    write_array(trial, "l.labels", reduce(vcat, [Int32.(decode_labels(batch.labels)) for batch in drawn]))
end

"Part T: the loss of each of the first training steps."
function prove_losses(trainer, trial::Trial, batches::Batches)
    losses = map(Iterators.take(in_order(batches), integer(trial, "gate.traced_steps"))) do batch
        step!(trainer, batch)
        take_loss_sum!(trainer) / length(batch)
    end
    write_array(trial, "t.losses", collect(losses))
end

write_array(trial::Trial, name::String, array) = write_npy(joinpath(text(trial, "output"), name * ".npy"), Array(array))

"Write arrays, pairs of a name and an array, as `<prefix>.<name>.npy`."
write_named(trial::Trial, prefix::String, named) =
    foreach(((name, array),) -> write_array(trial, "$prefix.$name", array), named)
