"Where epochs are cut into intervals and intervals into chunks, as the runner contract states. Pure arithmetic."
module Schedules

export Interval, plan_intervals, ends_chunk, timed_pieces, batch_range

"The plan of one epoch pair: the steps between two evaluations."
struct Interval
    "position at its end, in epochs"
    position::Float64
    "column of the batch order"
    epoch::Int
    batches::UnitRange{Int}
    chunks::Int
    is_first::Bool
end

"Cut `epochs` epochs of `count` batches into the intervals that the contract states."
function plan_intervals(epochs::Int, count::Int, evaluations_per_epoch::Int, chunks_per_epoch::Int)
    parts = max(evaluations_per_epoch, 1)
    intervals = Interval[]
    for epoch in 1:epochs, part in 1:parts
        cut = (count * (part - 1) ÷ parts + 1):(count * part ÷ parts)
        position = epoch - 1 + part / parts
        push!(intervals, Interval(position, epoch, cut, chunks_per_epoch ÷ parts, isempty(intervals)))
    end
    return intervals
end

"Return whether a chunk ends after `step` of `steps` steps: one does at `steps * c ÷ chunks`, c = 1, 2, …"
function ends_chunk(step::Int, steps::Int, chunks::Int)
    chunks == 0 && return false
    chunk = cld(step * chunks, steps)
    return steps * chunk ÷ chunks == step
end

"Cut the steps of an interval where the clock is read: after the first step of a run, and at the end of each chunk."
function timed_pieces(interval::Interval)
    steps = length(interval.batches)
    read_after(step) = ends_chunk(step, steps, interval.chunks) || (interval.is_first && step == 1) || step == steps
    ends = filter(read_after, 1:steps)
    return [(begun + 1):stop for (begun, stop) in zip([0; ends[1:(end - 1)]], ends)]
end

"Return the places, from 1, of batch `number` among `examples` examples; the last batch may be smaller."
batch_range(number::Int, size::Int, examples::Int) = ((number - 1) * size + 1):min(number * size, examples)

end
