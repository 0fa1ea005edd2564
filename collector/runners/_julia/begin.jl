# What a run begins with, before its framework is loaded: the arguments, `run_start`, and the files that need no package.

(length(ARGS) >= 2 && iseven(length(ARGS))) ||
    error("expected <trial.json> <events.jsonl>, again and again, or --describe, got $ARGS")

# run_start is written by hand: compiling the general writer would keep it back for 70 ms. Python that started this Julia
# inside itself has written its own.
const EVENTS = open(ARGS[2], "a")
if !@isdefined(STARTED_BY_PYTHON)
    unix_ns = round(Int, time() * 1e9)
    write(EVENTS, "{\"kind\": \"run_start\", \"at_ns\": $(time_ns()), \"unix_ns\": $unix_ns, \"pid\": $(getpid())}\n")
    flush(EVENTS)
end

# Counts what Julia compiles from here on; the framework and what comes after it are most of it.
isdefined(Base, :cumulative_compile_timing) && Base.cumulative_compile_timing(true)

for file in ("trial", "npy", "idx", "cifar10", "dataset", "order", "schedule")
    include(joinpath(@__DIR__, file * ".jl"))
end
using .Trials, .Npy, .Datasets, .Orders, .Schedules
