# What a trial trains on, as Flux takes it.

using Flux: onecold, onehotbatch

"Return labels from 0 as one-hot columns, and the other way round."
encode_labels(labels, classes::Int) = onehotbatch(labels, 0:(classes - 1))
decode_labels(labels) = onecold(labels) .- 1

include(joinpath(@__DIR__, "..", "_julia", "batches.jl"))
