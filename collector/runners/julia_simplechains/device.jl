# Numerics of the host.

include(joinpath(@__DIR__, "..", "_julia", "numerics.jl"))
