# The events of this runner: the shared writer, and what Julia knows of itself at the end.

include(joinpath(@__DIR__, "..", "_julia", "events.jl"))
using .Events

"Write `run_stop` with the seconds that Julia spent collecting garbage."
function write_run_stop(log::EventLog, threads::Int, flushes_subnormals::Bool)
    stopped_ns = time_ns()
    gc_s = Base.gc_num().total_time / 1e9
    write_event(
        log, "run_stop", stopped_ns, "threads" => threads, "flushes_subnormals" => flushes_subnormals, "gc_s" => gc_s,
    )
end
