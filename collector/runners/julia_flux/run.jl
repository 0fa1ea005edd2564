# julia run.jl <trial.json> <events.jsonl> …   train, time or prove with Flux; several pairs only in mode gate
# julia run.jl --describe                      print the versions as one JSON object

if VERSION < v"1.5"
    println(stderr, "julia_flux needs Julia 1.5 or newer; this is Julia $VERSION")
    exit(1)
end
if ARGS == ["--describe"]
    include("describe.jl")
    println(description())
    exit(0)
end
(length(ARGS) >= 2 && iseven(length(ARGS))) ||
    error("expected <trial.json> <events.jsonl>, again and again, or --describe, got $ARGS")

# run_start is written by hand: compiling the general writer would keep it back for 70 ms. from_python.py writes its own.
const EVENTS = open(ARGS[2], "a")
if !@isdefined(STARTED_BY_PYTHON)
    unix_ns = round(Int, time() * 1e9)
    write(EVENTS, "{\"kind\": \"run_start\", \"at_ns\": $(time_ns()), \"unix_ns\": $unix_ns, \"pid\": $(getpid())}\n")
    flush(EVENTS)
end

# Counts what Julia compiles from here on; Flux and the code below are most of it.
isdefined(Base, :cumulative_compile_timing) && Base.cumulative_compile_timing(true)

for file in ("trial", "npy", "idx", "cifar10", "dataset", "order", "schedule")
    include(joinpath(@__DIR__, "..", "_julia", file * ".jl"))
end
using .Trials, .Npy, .Datasets, .Orders, .Schedules
include("events.jl")
include("support.jl")

# Before Flux is loaded, because the device says what to load with it.
const TRIAL = read_trial(ARGS[1])
const LOG = EventLog(EVENTS)
length(ARGS) == 2 && end_unsupported(LOG, unsupported_reason(TRIAL, SUPPORTED))

import Flux
include("versions.jl")
include(text(TRIAL, "device") == "cuda" ? "cuda.jl" : "cpu.jl")
include("device.jl")
include("data.jl")
include("model.jl")
include("optimizer.jl")
include("train.jl")
text(TRIAL, "mode") == "gate" && include("gate.jl")
const FLUSHES_SUBNORMALS = set_numerics(integer(TRIAL, "threads"))

run_trials(ARGS, TRIAL, LOG, FLUSHES_SUBNORMALS)
