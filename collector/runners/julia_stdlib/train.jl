# Train and evaluate: what happens between the events of a run.

include(joinpath(@__DIR__, "..", "_julia", "schedule.jl"))
using .Schedules

"Cut every epoch into the intervals that the contract states."
Schedules.plan_intervals(batches::Batches, evaluations_per_epoch::Int, chunks_per_epoch::Int) =
    plan_intervals(size(batches.order, 2), batch_count(batches), evaluations_per_epoch, chunks_per_epoch)

"Set the gradient to that of the mean loss of the batch in `work`; return the loss summed over it."
function loss_and_gradient!(session::Session, work::Workspace)
    forward!(work, session.model, session.rng, session.dropout_rate)
    loss_sum = cross_entropy!(work.logits_gradient, work.logits, work.labels)
    backward!(session.gradient, work, session.model, session.dropout_rate)
    return loss_sum
end

"Train on the batch in `work`; return its loss summed over the examples."
function train_step!(session::Session, work::Workspace)
    loss_sum = loss_and_gradient!(session, work)
    update!(session.optimizer, session.model, session.gradient)
    return loss_sum
end

"Return the summed loss and the number of correct predictions on `test`, in evaluation mode."
function evaluate!(session::Session, test::Vector{Examples})
    loss_sum, correct = 0.0, 0
    for batch in test
        work = workspace(session, length(batch))
        logits = forward!(work, session.model, batch.images)
        loss_sum += cross_entropy!(work.logits_gradient, logits, batch.labels)
        correct += count_correct(logits, batch.labels)
    end
    return loss_sum, correct
end

"Count the columns of `logits` whose first largest row is the label."
function count_correct(logits::Matrix{Float32}, labels::Vector{Int32})
    correct = 0
    @inbounds for example in axes(logits, 2)
        best = 1
        for class in axes(logits, 1)
            best = ifelse(logits[class, example] > logits[best, example], class, best)
        end
        correct += best == labels[example]
    end
    return correct
end

"Train on one interval and write its events; return whether the loss is finite."
function train_interval!(session::Session, batches::Batches, interval::Interval, log::EventLog)
    loss_sum, examples, steps = 0.0, 0, length(interval.batches)
    write_event(log, "epoch_start", time_ns(), "epoch" => interval.position)
    for step in 1:steps
        work = gather!(session, batches, interval.epoch, interval.batches[step])
        loss_sum += train_step!(session, work)
        examples += length(work.labels)
        interval.is_first && step == 1 && write_event(log, "first_step_stop", time_ns())
        ends_chunk(step, steps, interval.chunks) && write_event(log, "chunk_stop", time_ns(), "steps" => step)
    end
    stopped_ns = time_ns()
    loss = loss_sum / examples
    isfinite(loss) || return write_diverged(log, stopped_ns, interval.position, "training", loss)
    write_event(
        log, "epoch_stop", stopped_ns, "epoch" => interval.position, "examples" => examples,
        "train_loss" => loss, "data_wait_s" => 0.0,
    )
    return true
end

"Evaluate on the whole test set and write the events; return whether the loss is finite."
function evaluate_interval!(session::Session, test::Vector{Examples}, interval::Interval, log::EventLog)
    write_event(log, "eval_start", time_ns(), "epoch" => interval.position)
    loss_sum, correct = evaluate!(session, test)
    stopped_ns = time_ns()
    examples = sum(length, test)
    loss = loss_sum / examples
    isfinite(loss) || return write_diverged(log, stopped_ns, interval.position, "test", loss)
    write_event(
        log, "eval_stop", stopped_ns, "epoch" => interval.position, "examples" => examples,
        "correct" => correct, "loss" => loss,
    )
    return true
end

"""
Run a step of every batch size and, if the trial evaluates, an evaluation, so that all code is compiled.

Their events go nowhere, and the session is scratch afterwards: `reset!` it.
"""
function compile!(session::Session, batches::Batches, test::Vector{Examples}, evaluates::Bool)
    nowhere = EventLog(open("/dev/null", "a"))
    for number in (1, batch_count(batches))
        scratch = Interval(0.0, 1, number:number, 1, true)
        train!(session, batches, [scratch], test, evaluates && number == 1, nowhere)
    end
    close(nowhere.file)
end

"Train and evaluate interval by interval; return whether the loss stayed finite."
function train!(
    session::Session, batches::Batches, intervals::Vector{Interval}, test::Vector{Examples}, evaluates::Bool,
    log::EventLog,
)
    for interval in intervals
        train_interval!(session, batches, interval, log) || return false
        evaluates && (evaluate_interval!(session, test, interval, log) || return false)
    end
    return true
end
