# Threads and subnormal floats of the host.

using LinearAlgebra: BLAS

"""
Flush subnormal floats, which cost tens of cycles each in late epochs; return whether that worked in every thread.

The thread that asks may be none of those that share out loops: since Julia 1.12 it can be an interactive one.
BLAS starts its threads after that (`OPENBLAS_NUM_THREADS` is 1 in runner.toml), so they inherit it.
"""
function set_host_numerics(threads::Int)
    here = set_zero_subnormals(true)
    flushes = zeros(Bool, Threads.nthreads())
    Threads.@threads :static for place in eachindex(flushes)
        flushes[place] = set_zero_subnormals(true)
    end
    BLAS.set_num_threads(threads)
    return here && all(flushes)
end
