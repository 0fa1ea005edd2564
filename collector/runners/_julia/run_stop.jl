# The last event, with what Julia knows of itself. A runner that includes this defines `device_report()`: further fields.

"Write `run_stop` with the seconds that Julia spent collecting garbage and, since Julia 1.8, compiling."
function write_run_stop(log::EventLog, flushes_subnormals::Bool)
    stopped_ns = time_ns()
    fields = Any[
        "threads" => Threads.nthreads(), "flushes_subnormals" => flushes_subnormals,
        "gc_s" => Base.gc_num().total_time / 1e9,
    ]
    if isdefined(Base, :cumulative_compile_timing)
        push!(fields, "compile_s" => first(Base.cumulative_compile_time_ns()) / 1e9)
    end
    write_event(log, "run_stop", stopped_ns, fields..., device_report()...)
end
