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
include("../_julia/begin.jl")
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
