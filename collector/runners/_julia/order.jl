"The batch order of a trial, and whether its epochs can be cut as the trial says."
module Orders

Base.Experimental.@optlevel 1     # runs once

export read_order, unsupported_cut

using ..Trials: Trial, TrialError, integer, text
using ..Npy: read_npy

"""
Read the batch order: `order[place, epoch]` is an index from 0 into the training set.

The indices are checked here, once, because gathering a batch need not check them.
"""
function read_order(trial::Trial, examples::Int)
    path = text(trial, "order")
    order = read_npy(Matrix{Int32}, path)
    isempty(order) && throw(TrialError("$path: is empty; expected epochs × examples"))
    for index in order
        0 <= index < examples ||
            throw(TrialError("$path: index $index; expected 0 to $(examples - 1)"))
    end
    return order
end

"Return why the epochs of this `order` cannot be cut as `trial` says: every pair needs a step. Empty if they can."
function unsupported_cut(trial::Trial, order::Matrix{Int32})
    parts, count = integer(trial, "evaluations_per_epoch"), cld(size(order, 1), integer(trial, "batch_size"))
    parts <= count && return ""
    return string("evaluations_per_epoch: got ", parts, "; expected at most ", count, ", the batches of an epoch")
end

end
