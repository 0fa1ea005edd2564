# Threads and numerics of the host, and the random numbers.

using LinearAlgebra: BLAS
using Random: seed!

"""
Flush subnormal floats, which cost tens of cycles each in late epochs; return whether that worked in every thread.

BLAS starts its threads after that (`OPENBLAS_NUM_THREADS` is 1 in runner.toml), so they inherit it.
"""
function set_numerics(threads::Int)
    set_precision()
    flushes = zeros(Bool, Threads.nthreads())
    Threads.@threads :static for place in eachindex(flushes)
        flushes[place] = set_zero_subnormals(true)
    end
    BLAS.set_num_threads(threads)
    return all(flushes)
end

"Seed everything that draws dropout masks."
function seed_all!(seed::Int)
    seed!(seed)
    seed_device!(seed)
end
