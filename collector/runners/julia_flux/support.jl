# What this runner can do.

"Any other value of these keys is answered with `unsupported`; model.jl adds the models."
const SUPPORTED = [
    "loss" => ["softmax_cross_entropy"],
    "optimizer" => ["sgd", "adam", "adamw"],
    "optimizer.schedule" => ["constant"],
    "device" => ["cpu", "cuda"],
    "dtype" => ["fp32"],
    "loader" => ["resident", "stream"],
    "data.format" => ["idx", "cifar10_binary"],
    "mode" => ["train", "steps", "infer", "gate"],
    "variant" => ["zygote"],
]

"Return why this runner cannot do `trial`; empty if it can."
function unsupported_reason(trial::Trial)
    for (key, values) in SUPPORTED
        given = text(trial, key)
        given in values || return string(key, ": got ", given, "; this runner supports ", join(values, ", "))
    end
    workers = integer(trial, "loader_workers")
    workers == 0 && return ""
    return string("loader_workers: got ", workers, "; this runner supports 0: its loader has no workers of its own")
end

"Write `reason` as the last event of `log`; return whether there is one."
function is_unsupported(log::EventLog, reason::String)
    isempty(reason) || write_event(log, "unsupported", time_ns(), "message" => reason)
    return !isempty(reason)
end
