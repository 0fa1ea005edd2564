# The events of this runner: those of every Julia runner.

include(joinpath(@__DIR__, "..", "_julia", "events.jl"))
using .Events
include(joinpath(@__DIR__, "..", "_julia", "run_stop.jl"))

"Nothing beside what every Julia runner tells."
device_report() = ()
