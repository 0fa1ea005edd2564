# julia run.jl <trial.json> <events.jsonl> …   train, time or prove with SimpleChains; several pairs only in mode gate
# julia run.jl --describe                      print the versions as one JSON object

if VERSION < v"1.10"
    println(stderr, "julia_simplechains needs Julia 1.10 or newer; this is Julia $VERSION")
    exit(1)
end
# Two statements: since Julia 1.12 a statement does not see the functions that it includes.
ARGS == ["--describe"] && include("describe.jl")
ARGS == ["--describe"] && (println(description()); exit(0))
include("../_julia/begin.jl")
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
include("../_julia/optimisers.jl")
include("train.jl")
text(TRIAL, "mode") == "gate" && include("gate.jl")
const FLUSHES_SUBNORMALS = set_host_numerics(integer(TRIAL, "threads"))

run_trials(ARGS, TRIAL, LOG, FLUSHES_SUBNORMALS)
