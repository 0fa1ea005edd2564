# What a trial trains on, as SimpleChains takes it: labels are numbers from 1.

to_device(array) = array
synchronise(_) = nothing

"Return labels from 0 as SimpleChains counts them, and the other way round."
encode_labels(labels, classes::Int) = UInt32.(labels .+ 1)
decode_labels(labels) = Int.(labels) .- 1

include(joinpath(@__DIR__, "..", "_julia", "batches.jl"))
