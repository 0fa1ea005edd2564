# One training step, one evaluation, and what happens between the events of a run.

using Flux: onecold, testmode!, trainmode!
using Flux.Losses: logitcrossentropy

"Everything that training changes, and what it starts from."
mutable struct Trainer{Model,State}
    model::Model
    names::Vector{String}
    learning_rate::Float64
    state::State
    loss_sum::Float64
end

"Build model and optimizer of `trial`, starting from `weights`; `shape` is that of an image."
function build_trainer(
    trial::Trial, weights, shape; dropout_rate::Float64, learning_rate = number(trial, "optimizer.learning_rate"),
)
    model, names = build_model(trial, shape, dropout_rate)
    model = to_device(model)
    state = setup(build_rule(trial, learning_rate), model)
    return reset!(Trainer(model, names, learning_rate, state, 0.0), weights, trial)
end

"Put weights, optimizer and random state to where training starts."
function reset!(trainer::Trainer, weights, trial::Trial)
    model, names = trainer.model, trainer.names
    for place in [parameter_places(model, names); statistics_places(model, names)]
        copyto!(array_at(model, place), canonical(weights[place.name]))
    end
    trainer.state = setup(build_rule(trial, trainer.learning_rate), model)
    trainer.loss_sum = 0.0
    trainmode!(model)
    seed_all!(integer(trial, "seed"))
    synchronise()
    return trainer
end

"Return the number of trainable parameters."
parameter_count(trainer::Trainer) =
    sum(length(array_at(trainer.model, place)) for place in parameter_places(trainer.model, trainer.names))

"Do one training step; add the loss of its examples to the sum."
function step!(trainer::Trainer, batch::Examples)
    loss, (gradient,) = loss_and_gradient(trainer, batch)
    update!(trainer.state, trainer.model, gradient)
    trainer.loss_sum += loss * length(batch)
    return nothing
end

"Return the mean loss of `batch` and, in a tuple, its gradient."
loss_and_gradient(trainer::Trainer, batch::Examples) =
    withgradient(model -> logitcrossentropy(model(batch.images), batch.labels), trainer.model)

"Return the summed training loss since the last call, and begin a new sum."
function take_loss_sum!(trainer::Trainer)
    loss_sum, trainer.loss_sum = trainer.loss_sum, 0.0
    return loss_sum
end

"Return the summed loss and the number of correct predictions on `test`, in evaluation mode."
function evaluate!(trainer::Trainer, test)
    loss_sum, correct = 0.0, 0
    testmode!(trainer.model)
    for batch in test
        logits = trainer.model(batch.images)
        loss_sum += logitcrossentropy(logits, batch.labels; agg = sum)
        correct += sum(onecold(logits) .== onecold(batch.labels))
    end
    trainmode!(trainer.model)
    return loss_sum, correct
end

"Train on one interval and write its events; return whether the loss is finite."
function train_interval!(trainer::Trainer, batches::Batches, interval::Interval, log::EventLog)
    examples, steps = 0, length(interval.batches)
    write_event(log, "epoch_start", time_ns(), "epoch" => interval.position)
    for step in 1:steps
        batch = next_batch!(batches, interval.epoch, interval.batches[step])
        step!(trainer, batch)
        examples += length(batch)
        first_step = interval.is_first && step == 1
        chunk = ends_chunk(step, steps, interval.chunks)
        (first_step || chunk) && synchronise()
        first_step && write_event(log, "first_step_stop", time_ns())
        chunk && write_event(log, "chunk_stop", time_ns(), "steps" => step)
    end
    synchronise()
    stopped_ns = time_ns()
    loss = take_loss_sum!(trainer) / examples
    isfinite(loss) || return write_diverged(log, stopped_ns, interval.position, "training", loss)
    write_event(
        log, "epoch_stop", stopped_ns, "epoch" => interval.position, "examples" => examples,
        "train_loss" => loss, "data_wait_s" => take_waited_s!(batches),
    )
    return true
end

"Evaluate on the whole test set and write the events; return whether the loss is finite."
function evaluate_interval!(trainer::Trainer, test, interval::Interval, log::EventLog)
    write_event(log, "eval_start", time_ns(), "epoch" => interval.position)
    loss_sum, correct = evaluate!(trainer, test)
    stopped_ns = time_ns()
    examples = sum(length, test)
    isfinite(loss_sum) || return write_diverged(log, stopped_ns, interval.position, "test", loss_sum)
    write_event(
        log, "eval_stop", stopped_ns, "epoch" => interval.position, "examples" => examples,
        "correct" => correct, "loss" => loss_sum / examples,
    )
    return true
end

"Train and evaluate interval by interval; return whether the loss stayed finite."
function train!(trainer::Trainer, batches::Batches, intervals, test, evaluates::Bool, log::EventLog)
    for interval in intervals
        train_interval!(trainer, batches, interval, log) || return false
        evaluates && (evaluate_interval!(trainer, test, interval, log) || return false)
    end
    return true
end

"Return the predicted class of each example, on the device."
infer(trainer::Trainer, batch::Examples) = onecold(trainer.model(batch.images))

"Predict the same batches twice: once synchronised after each for its latency, once at full throughput."
function infer!(trainer::Trainer, batches::Batches, log::EventLog)
    count = batch_count(batches)
    testmode!(trainer.model)
    for (epoch, each) in ((1.0, true), (2.0, false))
        write_event(log, "epoch_start", time_ns(), "epoch" => epoch)
        for number in 1:count
            infer(trainer, gather_batch(batches, 1, number))
            (each || number == count) || continue
            synchronise()
            epoch == number == 1 && write_event(log, "first_step_stop", time_ns())
            write_event(log, "chunk_stop", time_ns(), "steps" => number)
        end
        write_event(
            log, "epoch_stop", time_ns(), "epoch" => epoch, "examples" => size(batches.order, 1), "data_wait_s" => 0.0)
    end
end

"Do a step of every batch size and, in mode train, an evaluation, so that all code is compiled; `reset!` follows."
function warm_up!(trainer::Trainer, trial::Trial, batches::Batches, test)
    nowhere = EventLog(open("/dev/null", "a"))
    numbers = unique((1, batch_count(batches)))
    if text(trial, "mode") == "infer"
        testmode!(trainer.model)
        foreach(number -> infer(trainer, gather_batch(batches, 1, number)), numbers)
    else
        foreach(number -> step!(trainer, gather_batch(batches, 1, number)), numbers)
        once = [Interval(0.0, 1, 1:1, 1, true)]
        train!(trainer, batches, once, test, text(trial, "mode") == "train", nowhere)
    end
    synchronise()
    close(nowhere.file)
end

"Do what `trial` asks and write its events, from `import_stop` on."
function run_trial(trial::Trial, log::EventLog, flushes_subnormals::Bool)
    is_unsupported(log, unsupported_reason(trial)) && return
    is_unsupported(log, unsupported_optimizer(trial)) && return
    write_event(log, "import_stop", time_ns())
    files = read_files(trial)
    is_unsupported(log, unsupported_cut(trial, files.order)) && return
    write_event(log, "load_stop", time_ns())

    batches = place_batches(trial, files.train, files.order)
    test = cut(resident(Encoded(trial, files.test)), integer(trial, "eval_batch_size"))
    synchronise()
    write_event(log, "preprocess_stop", time_ns())

    gates = text(trial, "mode") == "gate"
    rate = number(trial, gates ? "gate.dropout_rate" : "model.dropout_rate")
    trainer = build_trainer(trial, files.weights, size(files.train.images)[1:3]; dropout_rate = rate)
    write_event(log, "build_stop", time_ns(), "parameters" => parameter_count(trainer))
    work! = gates ? prove! : measure!
    finished = work!(trainer, trial, files, batches, test, log)
    finished && write_run_stop(log, flushes_subnormals)
end

"Compile, start again, and train or infer; return whether the losses stayed finite."
function measure!(trainer::Trainer, trial::Trial, files::Files, batches::Batches, test, log::EventLog)
    warm_up!(trainer, trial, batches, test)
    reset!(trainer, files.weights, trial)
    restart!(batches, integer(trial, "seed"))
    write_event(log, "compile_stop", time_ns())
    if text(trial, "mode") == "infer"
        infer!(trainer, batches, log)
        return true
    end
    evaluations = integer(trial, "evaluations_per_epoch")
    intervals = plan_intervals(
        size(batches.order, 2), batch_count(batches), evaluations, integer(trial, "chunks_per_epoch"))
    return train!(trainer, batches, intervals, test, evaluations > 0, log)
end
