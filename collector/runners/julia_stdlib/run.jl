# julia run.jl <trial.json> <events.jsonl>   train, time or prove the perceptron with Julia's standard library
# julia run.jl --describe                    print the versions as one JSON object
#
# The steps of a run are top-level statements: Julia compiles each when it gets there, so compiling
# counts in the phase that needs it, and what a trial does not use is never compiled.

# Two statements: since Julia 1.12 a statement does not see the functions that it includes.
ARGS == ["--describe"] && include("describe.jl")
ARGS == ["--describe"] && (println(description()); exit(0))
length(ARGS) == 2 || error("expected <trial.json> <events.jsonl> or --describe, got $ARGS")

# run_start is written by hand: compiling the general writer would keep it back for 70 ms.
const EVENTS = open(ARGS[2], "a")
const UNIX_NS = round(Int, time() * 1e9)
write(EVENTS, "{\"kind\": \"run_start\", \"at_ns\": $(time_ns()), \"unix_ns\": $UNIX_NS, \"pid\": $(getpid())}\n")
flush(EVENTS)

include("events.jl")
const LOG = EventLog(EVENTS)
include("model.jl")
include("data.jl")
include("session.jl")
include("train.jl")
write_event(LOG, "import_stop", time_ns())

const TRIAL = read_trial(ARGS[1])
end_unsupported(LOG, unsupported_reason(TRIAL))
const FLUSHES_SUBNORMALS = set_numerics(integer(TRIAL, "threads"))

const RAW_TRAIN = read_set(TRIAL, "train")
const RAW_TEST = read_set(TRIAL, "test")
const ORDER = read_order(TRIAL, length(RAW_TRAIN.labels))
end_unsupported(LOG, unsupported_cut(TRIAL, ORDER))
const WEIGHTS = read_model(text(TRIAL, "weights"))
write_event(LOG, "load_stop", time_ns())

const LEVELS = standardised_levels(only(numbers(TRIAL, "data.mean")), only(numbers(TRIAL, "data.std")))
const BATCHES = Batches(standardise(RAW_TRAIN, LEVELS), ORDER, integer(TRIAL, "batch_size"))
const TEST = standardised_batches(RAW_TEST, LEVELS, integer(TRIAL, "eval_batch_size"))
write_event(LOG, "preprocess_stop", time_ns())

const SESSION = build_session(TRIAL, WEIGHTS, BATCHES, TEST)
const EVALUATIONS = integer(TRIAL, "evaluations_per_epoch")
const INTERVALS = plan_intervals(BATCHES, EVALUATIONS, integer(TRIAL, "chunks_per_epoch"))
write_event(LOG, "build_stop", time_ns(), "parameters" => parameter_count(SESSION.model))

const GATES = text(TRIAL, "mode") == "gate"
GATES && include("gate.jl")
if GATES
    prove!(SESSION, TRIAL, WEIGHTS, BATCHES, TEST)
else
    compile!(SESSION, BATCHES, TEST, EVALUATIONS > 0)
    reset!(SESSION, WEIGHTS, integer(TRIAL, "seed"))
    write_event(LOG, "compile_stop", time_ns())
    train!(SESSION, BATCHES, INTERVALS, TEST, EVALUATIONS > 0, LOG) || exit(0)
end
write_run_stop(LOG, integer(TRIAL, "threads"), FLUSHES_SUBNORMALS)
