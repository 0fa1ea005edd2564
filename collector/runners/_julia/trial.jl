"Read trial.json: one flat JSON object, one key a line, without escapes, so no JSON library is needed."
module Trials

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export Trial, TrialError, read_trial, parse_trial, integer, number, numbers, text

"What a runner is asked to do: the keys of the runner contract and their values."
const Trial = Dict{String,Any}

"A trial that cannot be run as it stands: where, what is wrong, what was expected."
struct TrialError <: Exception
    message::String
end

Base.showerror(io::IO, mistake::TrialError) = print(io, "TrialError: ", mistake.message)

"Throw a `TrialError`. Messages are put together here, so that reading a good trial compiles none."
@noinline fail(@nospecialize(parts...)) = throw(TrialError(string(parts...)))

"Read the trial in the file at `path`."
read_trial(path::String) = parse_trial(read(path, String))

"Return the trial written in `content`."
function parse_trial(content::String)
    trial = Trial()
    for line in split(content, '\n')
        entry = String(rstrip(strip(line), ','))
        (entry == "" || entry == "{" || entry == "}") && continue
        key, value = split_entry(entry)
        trial[key] = parse_value(value, key)
    end
    return trial
end

"Split `\"key\": value`; no key holds a quote."
function split_entry(entry::String)
    separator = findfirst("\": ", entry)
    (separator === nothing || !startswith(entry, '"')) &&
        fail("trial.json: ", entry, ": expected \"key\": value, one a line")
    return entry[2:prevind(entry, first(separator))], entry[nextind(entry, last(separator)):end]
end

"Return the string, Bool, Int, Float64 or list of those that `value` writes."
function parse_value(value::String, key::String)
    startswith(value, '"') && return String(chop(value, head = 1, tail = 1))
    startswith(value, '[') && return parse_list(value, key)
    value == "true" && return true
    value == "false" && return false
    whole = tryparse(Int, value)
    whole === nothing || return whole
    real = tryparse(Float64, value)
    real === nothing && fail("trial.json: ", key, ": got ", value, "; expected a number, a string or a list")
    return real
end

function parse_list(value::String, key::String)
    items = Any[]
    for item in split(chop(value, head = 1, tail = 1), ',')
        stripped = String(strip(item))
        isempty(stripped) || push!(items, parse_value(stripped, key))
    end
    return items
end

"Return the value of `key` as an Int."
integer(trial::Trial, key::String) = lookup(trial, key, Int)::Int

"Return the value of `key` as a Float64; whole numbers count."
number(trial::Trial, key::String) = Float64(lookup(trial, key, Union{Int,Float64})::Union{Int,Float64})

"Return the value of `key`, a list of numbers, as Float64s."
numbers(trial::Trial, key::String) = Float64[item for item in lookup(trial, key, Vector{Any})::Vector{Any}]

"Return the value of `key` as a String."
text(trial::Trial, key::String) = lookup(trial, key, String)::String

function lookup(trial::Trial, key::String, @nospecialize(kind))
    haskey(trial, key) || fail("trial.json: ", key, ": is missing; expected ", kind)
    value = trial[key]
    value isa kind || fail("trial.json: ", key, ": got ", repr(value), "; expected ", kind)
    return value
end

end
