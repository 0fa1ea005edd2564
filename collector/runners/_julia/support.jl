# What a runner cannot do, said as an event before any work is done.

"""
Return why a trial cannot be done: the first key whose value is not among those `supported`. Empty if it can.

`supported` holds pairs of a key and its possible values.
"""
function unsupported_reason(trial::Trial, supported)
    for (key, values) in supported
        given = text(trial, key)
        given in values || return string(key, ": got ", given, "; this runner supports ", join(values, ", "))
    end
    workers = integer(trial, "loader_workers")
    workers == 0 && return ""
    return string("loader_workers: got ", workers, "; this runner supports 0: MLUtils' num_workers is not written yet")
end

"Write `reason` as the last event of `log`; return whether there is one."
function is_unsupported(log::EventLog, reason::String)
    isempty(reason) || write_event(log, "unsupported", time_ns(), "message" => reason)
    return !isempty(reason)
end
