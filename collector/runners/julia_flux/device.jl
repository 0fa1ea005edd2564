# Numerics of host and device, and the random numbers.

using Random: seed!

include(joinpath(@__DIR__, "..", "_julia", "numerics.jl"))

"Set precision and threads; return whether subnormal floats are flushed in every thread."
function set_numerics(threads::Int)
    set_precision()
    return set_host_numerics(threads)
end

"Seed everything that draws dropout masks."
function seed_all!(seed::Int)
    seed!(seed)
    seed_device!(seed)
end
