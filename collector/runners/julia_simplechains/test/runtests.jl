# julia runtests.jl: what this runner promises of where parameters lie. Needs no framework.

using Test

include(joinpath(@__DIR__, "..", "layout.jl"))

const LAYERS = [Layer("conv1", (2, 2, 1, 3)), Layer("output", (2, 3))]

"Arrays as files hold them, read with their axes in the opposite direction."
arrays() = Dict{String,Array{Float32}}(
    "conv1.weight" => reshape(Float32.(1:12), 2, 2, 1, 3), "conv1.bias" => Float32[13, 14, 15],
    "output.weight" => Float32[16 19; 17 20; 18 21], "output.bias" => Float32[22, 23],
)

@testset "julia_simplechains" begin
    @testset "a convolution keeps its order, a dense weight is transposed, biases follow" begin
        @test flat_vector(LAYERS, arrays()) == [1:15; 16; 19; 17; 20; 18; 21; 22; 23]
        @test parameter_count(LAYERS) == 23
    end

    @testset "names and arrays come back" begin
        @test Dict(named_arrays(LAYERS, flat_vector(LAYERS, arrays()))) == arrays()
    end

    @testset "a weight of another size is refused" begin
        @test_throws ErrorException flat_vector(LAYERS, merge(arrays(), Dict("output.weight" => zeros(Float32, 3, 3))))
    end
end
