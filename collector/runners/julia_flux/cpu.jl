# The processor: nothing to move and nothing to wait for.

to_device(array) = array
synchronise(_) = nothing
device_report() = ()
seed_device!(seed::Int) = nothing
set_precision() = nothing
