# julia runtests.jl: what this runner promises of names and layouts. Needs no framework.

using Test

include(joinpath(@__DIR__, "..", "tree.jl"))

"Parameters as Lux's chains have them: named tuples in named tuples, empty where a layer has none."
parameters() = (
    flatten = NamedTuple(),
    s1b1 = (
        branch = (s1b1_conv1 = (weight = reshape(Float32.(1:24), 2, 3, 2, 2),), s1b1_norm1 = (scale = Float32[1, 2], bias = Float32[3, 4])),
        shortcut = NamedTuple(),
    ),
    output = (weight = Float32[1 2 3; 4 5 6], bias = Float32[7, 8]),
)

@testset "julia_lux" begin
    @testset "arrays have the names and the layout of files" begin
        named = Dict(named_arrays(parameters(), field -> true))

        @test sort(collect(keys(named))) ==
            ["output.bias", "output.weight", "s1b1_conv1.weight", "s1b1_norm1.bias", "s1b1_norm1.weight"]
        @test named["output.weight"] == Float32[1 4; 2 5; 3 6]
        @test named["s1b1_conv1.weight"] == reshape(1:24, 2, 3, 2, 2)
        @test named["s1b1_norm1.weight"] == [1, 2]
    end

    @testset "only what is wanted is named" begin
        states = (norm1 = (running_mean = Float32[1], running_var = Float32[2], training = Val(true)), dropout = (rng = 7,))

        @test named_arrays(states, field -> field in (:running_mean, :running_var)) ==
            ["norm1.running_mean" => [1], "norm1.running_var" => [2]]
    end

    @testset "what files hold is put in its place; the rest stays" begin
        named = Dict(named_arrays(parameters(), field -> true))
        doubled = Dict(name => 2 .* array for (name, array) in named if name != "output.bias")

        changed = filled(parameters(), doubled)

        @test changed.output.weight == Float32[2 4 6; 8 10 12]
        @test changed.output.bias == Float32[7, 8]
        @test changed.s1b1.branch.s1b1_norm1 == (scale = Float32[2, 4], bias = Float32[6, 8])
        @test typeof(changed) == typeof(parameters())
    end
end
