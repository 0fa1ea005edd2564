# julia run.jl <trial.json> <events.jsonl> …   train, time or prove with SimpleChains; several pairs only in mode gate
# julia run.jl --describe                      print the versions as one JSON object

if VERSION < v"1.10"
    println(stderr, "julia_simplechains needs Julia 1.10 or newer; this is Julia $VERSION")
    exit(1)
end
if ARGS == ["--describe"]
    include("describe.jl")
    println(description())
    exit(0)
end
(length(ARGS) >= 2 && iseven(length(ARGS))) ||
    error("expected <trial.json> <events.jsonl>, again and again, or --describe, got $ARGS")

# run_start is written by hand: compiling the general writer would keep it back for 70 ms.
const EVENTS = open(ARGS[2], "a")
const UNIX_NS = round(Int, time() * 1e9)
write(EVENTS, "{\"kind\": \"run_start\", \"at_ns\": $(time_ns()), \"unix_ns\": $UNIX_NS, \"pid\": $(getpid())}\n")
flush(EVENTS)

# Counts what Julia compiles from here on; SimpleChains and the code below are most of it.
Base.cumulative_compile_timing(true)

for file in ("trial", "npy", "idx", "cifar10", "dataset", "order", "schedule")
    include(joinpath(@__DIR__, "..", "_julia", file * ".jl"))
end
using .Trials, .Npy, .Datasets, .Orders, .Schedules
include("events.jl")
include("support.jl")

# Before SimpleChains is loaded.
const TRIAL = read_trial(ARGS[1])
const LOG = EventLog(EVENTS)
length(ARGS) == 2 && end_unsupported(LOG, unsupported_reason(TRIAL, SUPPORTED))

import SimpleChains
include("device.jl")
include("data.jl")
include("layout.jl")
include("model.jl")
include("optimizer.jl")
include("train.jl")
text(TRIAL, "mode") == "gate" && include("gate.jl")
const FLUSHES_SUBNORMALS = set_host_numerics(integer(TRIAL, "threads"))

run_trials(ARGS, TRIAL, LOG, FLUSHES_SUBNORMALS)
