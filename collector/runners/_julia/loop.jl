# One run, from `import_stop` to `run_stop`: what every Julia runner with batches.jl does alike between its events.
#
# A runner that includes this defines for its own `Trainer`
#
#     build_trainer(trial, weights, shape; dropout_rate, learning_rate)   model and optimizer, ready to train
#     reset!(trainer, weights, trial)      back to where training starts
#     parameter_count(trainer)
#     step!(trainer, batch)                one training step; the loss of its examples is added to a sum
#     take_loss_sum!(trainer)              that sum, which begins anew
#     evaluate!(trainer, test)             summed loss and correct predictions, in evaluation mode
#     infer(trainer, batch)                predicted classes, on the device
#     evaluation_mode!(trainer)
#     synchronise(thing)                   return when the device has nothing left to do for it
#     write_run_stop(log, flushes_subnormals)
#
# and may say with `unsupported_more(trial)` what it cannot do beside what support.jl lists, and with
# `steps!(trainer, drawn)` how its framework's own loop goes over batches.

"Train on one interval and write its events; return whether the loss is finite."
function train_interval!(trainer, batches::Batches, interval::Interval, log::EventLog)
    pieces, steps = timed_pieces(interval), length(interval.batches)
    write_event(log, "epoch_start", time_ns(), "epoch" => interval.position)
    for piece in pieces
        steps!(trainer, (next_batch!(batches, interval.epoch, interval.batches[step]) for step in piece))
        synchronise(trainer)
        interval.is_first && last(piece) == 1 && write_event(log, "first_step_stop", time_ns())
        ends_chunk(last(piece), steps, interval.chunks) &&
            write_event(log, "chunk_stop", time_ns(), "steps" => last(piece))
    end
    stopped_ns = time_ns()
    examples = example_count(batches, interval.batches)
    loss = take_loss_sum!(trainer) / examples
    isfinite(loss) || return write_diverged(log, stopped_ns, interval.position, "training", loss)
    write_event(
        log, "epoch_stop", stopped_ns, "epoch" => interval.position, "examples" => examples,
        "train_loss" => loss, "data_wait_s" => take_waited_s!(batches),
    )
    return true
end

"Do a training step with each of the batches `drawn`: one after another, where a runner has no loop of its framework."
function steps!(trainer, drawn)
    for batch in drawn
        step!(trainer, batch)
    end
end

"Evaluate on the whole test set and write the events; return whether the loss is finite."
function evaluate_interval!(trainer, test, interval::Interval, log::EventLog)
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
function train!(trainer, batches::Batches, intervals, test, evaluates::Bool, log::EventLog)
    for interval in intervals
        train_interval!(trainer, batches, interval, log) || return false
        evaluates && (evaluate_interval!(trainer, test, interval, log) || return false)
    end
    return true
end

"Predict the same batches twice: once synchronised after each for its latency, once at full throughput."
function infer!(trainer, batches::Batches, log::EventLog)
    count = batch_count(batches)
    evaluation_mode!(trainer)
    for (epoch, each) in ((1.0, true), (2.0, false))
        write_event(log, "epoch_start", time_ns(), "epoch" => epoch)
        for number in 1:count
            infer(trainer, gather_batch(batches, 1, number))
            (each || number == count) || continue
            synchronise(trainer)
            epoch == number == 1 && write_event(log, "first_step_stop", time_ns())
            write_event(log, "chunk_stop", time_ns(), "steps" => number)
        end
        write_event(
            log, "epoch_stop", time_ns(), "epoch" => epoch, "examples" => size(batches.order, 1), "data_wait_s" => 0.0)
    end
end

"Do a step of every batch size and, in mode train, an evaluation, so that all code is compiled; `reset!` follows."
function warm_up!(trainer, trial::Trial, batches::Batches, test)
    nowhere = EventLog(open("/dev/null", "a"))
    numbers = unique((1, batch_count(batches)))
    if text(trial, "mode") == "infer"
        evaluation_mode!(trainer)
        foreach(number -> infer(trainer, gather_batch(batches, 1, number)), numbers)
    else
        foreach(number -> step!(trainer, gather_batch(batches, 1, number)), numbers)
        once = [Interval(0.0, 1, 1:1, 1, true)]
        train!(trainer, batches, once, test, text(trial, "mode") == "train", nowhere)
    end
    synchronise(trainer)
    close(nowhere.file)
end

"Do what `trial` asks and write its events, from `import_stop` on."
function run_trial(trial::Trial, log::EventLog, flushes_subnormals::Bool)
    is_unsupported(log, unsupported_reason(trial, SUPPORTED)) && return
    is_unsupported(log, unsupported_more(trial)) && return
    write_event(log, "import_stop", time_ns())
    files = read_files(trial)
    is_unsupported(log, unsupported_cut(trial, files.order)) && return
    write_event(log, "load_stop", time_ns())

    batches = place_batches(trial, files.train, files.order)
    test = cut(resident(Encoded(trial, files.test)), integer(trial, "eval_batch_size"))
    synchronise(test)
    write_event(log, "preprocess_stop", time_ns())

    gates = text(trial, "mode") == "gate"
    rate = number(trial, gates ? "gate.dropout_rate" : "model.dropout_rate")
    trainer = build_trainer(trial, files.weights, image_shape(files); dropout_rate = rate)
    write_event(log, "build_stop", time_ns(), "parameters" => parameter_count(trainer))
    work! = gates ? prove! : measure!
    finished = work!(trainer, trial, files, batches, test, log)
    finished && write_run_stop(log, flushes_subnormals)
end

"Compile, start again, and train or infer; return whether the losses stayed finite."
function measure!(trainer, trial::Trial, files::Files, batches::Batches, test, log::EventLog)
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

"Do the trials named by `arguments`, pairs of trial and events file, of which the first is open already."
function run_trials(arguments, first_trial::Trial, first_log::EventLog, flushes_subnormals::Bool)
    run_trial(first_trial, first_log, flushes_subnormals)
    for place in 3:2:length(arguments)
        log = EventLog(open(arguments[place + 1], "a"))
        write_event(log, "run_start", time_ns(), "unix_ns" => round(Int, time() * 1e9), "pid" => getpid())
        run_trial(read_trial(arguments[place]), log, flushes_subnormals)
    end
end
