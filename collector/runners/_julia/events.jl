"Write the events of a run, one JSON object a line, as the runner contract states."
module Events

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export EventLog, write_event, end_unsupported, write_diverged

"A file of events; every line is flushed as soon as it is written."
struct EventLog
    file::IOStream
    line::IOBuffer
end

EventLog(file::IOStream) = EventLog(file, IOBuffer())

"""
    write_event(log, kind, at_ns, fields...)

Append the event `kind` that happened at `at_ns` (from `time_ns()`), with `fields` such as
`"epoch" => 0.25`. The fields are not specialised on: events must cost microseconds, and no
compilation, between two training steps.
"""
function write_event(log::EventLog, kind::String, at_ns::UInt64, @nospecialize(fields...))
    line = log.line
    print(line, "{\"kind\": ")
    write_json(line, kind)
    print(line, ", \"at_ns\": ", at_ns)
    for field in fields
        print(line, ", ")
        write_json(line, field.first)
        print(line, ": ")
        write_json(line, field.second)
    end
    print(line, "}\n")
    write(log.file, take!(line))
    flush(log.file)
    return nothing
end

"Write a finite number, a Bool or a string as JSON; JSON has no NaN."
function write_json(io::IO, value::Real)
    isfinite(value) || throw(ArgumentError("JSON has no $value: write a 'diverged' event instead"))
    print(io, value isa AbstractFloat ? Float64(value) : value)
end

function write_json(io::IO, text::AbstractString)
    print(io, '"')
    for character in text
        if character == '"' || character == '\\'
            print(io, '\\', character)
        elseif character < ' '
            print(io, "\\u", string(UInt32(character), base = 16, pad = 4))
        else
            print(io, character)
        end
    end
    print(io, '"')
end

"Write `reason` as the last event and end the program; do nothing if there is none."
function end_unsupported(log::EventLog, reason::String)
    isempty(reason) && return
    write_event(log, "unsupported", time_ns(), "message" => reason)
    exit(0)
end

"Write that the `which` loss is not finite; return false."
function write_diverged(log::EventLog, at_ns::UInt64, epoch::Float64, @nospecialize(which), @nospecialize(loss))
    write_event(log, "diverged", at_ns, "epoch" => epoch, "message" => string("the ", which, " loss is ", loss))
    return false
end

end
