# julia run.jl <trial.json> <events.jsonl> …   train, time or prove with Flux; several pairs only in mode gate
# julia run.jl --describe                      print the versions as one JSON object

if VERSION < v"1.5"
    println(stderr, "julia_flux needs Julia 1.5 or newer; this is Julia $VERSION")
    exit(1)
end
# Two statements: since Julia 1.12 a statement does not see the functions that it includes.
ARGS == ["--describe"] && include("describe.jl")
ARGS == ["--describe"] && (println(description()); exit(0))
include("../_julia/begin.jl")
include("../_julia/cold.jl")
include("events.jl")
include("support.jl")

# Before Flux is loaded, because device and variant say what to load with it.
const TRIAL = read_trial(ARGS[1])
const VARIANT = text(TRIAL, "variant")
const LOG = EventLog(EVENTS)
if length(ARGS) == 2
    end_unsupported(LOG, unsupported_reason(TRIAL, SUPPORTED))
    end_unsupported(LOG, unsupported_variant(TRIAL))
end
VARIANT == "cold" && forget_compiled!(DEPOT_PATH)

import Flux
include("versions.jl")
include(text(TRIAL, "device") == "cuda" ? "cuda.jl" : "cpu.jl")
include("device.jl")
include("data.jl")
include("model.jl")
include("optimizer.jl")
include(VARIANT == "enzyme" && isempty(unsupported_variant(TRIAL)) ? "enzyme.jl" : "zygote.jl")
include("train.jl")
include(VARIANT == "train" ? "flux_loop.jl" : "own_loop.jl")
text(TRIAL, "mode") == "gate" && include("gate.jl")
const FLUSHES_SUBNORMALS = set_numerics(integer(TRIAL, "threads"))

run_trials(ARGS, TRIAL, LOG, FLUSHES_SUBNORMALS)
