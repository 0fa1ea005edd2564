# The events of this runner: the shared writer, and the events that end a run.

include(joinpath(@__DIR__, "..", "_julia", "events.jl"))
using .Events

"Write `reason` as the last event and end the program; do nothing if there is none."
function end_unsupported(log::EventLog, reason::String)
    isempty(reason) && return
    write_event(log, "unsupported", time_ns(), "message" => reason)
    exit(0)
end

"Write that the `which` loss is not finite; return false."
function write_diverged(log::EventLog, at_ns::UInt64, epoch::Float64, @nospecialize(which), @nospecialize(loss))
    write_event(log, "diverged", at_ns, "epoch" => epoch, "message" => string("the ", which, " loss is ", loss))
    return false
end

"Write `run_stop` with the seconds that Julia spent collecting garbage."
function write_run_stop(log::EventLog, threads::Int, flushes_subnormals::Bool)
    stopped_ns = time_ns()
    gc_s = Base.gc_num().total_time / 1e9
    write_event(
        log, "run_stop", stopped_ns, "threads" => threads, "flushes_subnormals" => flushes_subnormals, "gc_s" => gc_s,
    )
end
