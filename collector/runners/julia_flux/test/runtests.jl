# julia --project=.. runtests.jl: what this runner promises. Needs Flux.

using Test
import Flux

for file in ("trial", "npy", "idx", "cifar10", "dataset", "order", "schedule")
    include(joinpath(@__DIR__, "..", "..", "_julia", file * ".jl"))
end
using .Trials, .Npy, .Datasets, .Orders, .Schedules
for file in ("events", "support", "versions", "cpu", "device", "data", "model", "optimizer", "zygote", "train",
             "own_loop", "gate")
    include(joinpath(@__DIR__, "..", file * ".jl"))
end

using Random: MersenneTwister

"A small trial of `model`, with any of its settings replaced; `__` in a key stands for its dot."
function small_trial(model; changes...)
    trial = Trial(
        "model" => model, "model.hidden_units" => 5, "model.hidden_layers" => 1, "model.dropout_rate" => 0.0,
        "model.batch_norm" => true, "model.norm_epsilon" => 1e-5, "model.norm_momentum" => 0.1, "model.stem" => "cifar",
        "data.classes" => 10, "optimizer" => "sgd", "optimizer.learning_rate" => 0.01, "optimizer.momentum" => 0.9,
        "optimizer.weight_decay" => 0.1, "optimizer.beta1" => 0.9, "optimizer.beta2" => 0.999,
        "optimizer.epsilon" => 1e-8, "seed" => 7, "mode" => "steps",
    )
    for (key, value) in changes
        trial[replace(string(key), "__" => ".")] = value
    end
    return trial
end

"Random weights, in the layout of their files, for the model of `trial`."
function random_weights(trial, shape, rng)
    model, names = build_model(trial, shape, 0.0)
    found = [parameter_places(model, names); statistics_places(model, names)]
    return Dict(
        place.name => 0.1f0 .* abs.(randn(rng, Float32, size(canonical(array_at(model, place))))) for place in found)
end

function small_trainer(trial, shape; dropout_rate = 0.0)
    weights = random_weights(trial, shape, MersenneTwister(1))
    return build_trainer(trial, weights, shape; dropout_rate = dropout_rate), weights
end

random_batch(shape, examples) =
    Examples(randn(MersenneTwister(2), Float32, shape..., examples), Flux.onehotbatch(mod.(1:examples, 10), 0:9))

const SHAPES = [("mlp", (4, 3, 1)), ("lenet5", (28, 28, 1)), ("cnn", (32, 32, 3)), ("keras_cnn", (28, 28, 1))]

@testset "julia_flux" begin
    @testset "$model: every parameter has its gradient under its name" for (model, shape) in SHAPES
        trainer, weights = small_trainer(small_trial(model), shape)
        _, (gradient,) = loss_and_gradient(trainer, random_batch(shape, 3))

        for place in parameter_places(trainer.model, trainer.names)
            @test canonical(array_at(trainer.model, place)) == weights[place.name]
            @test size(array_at(gradient, place)) == size(array_at(trainer.model, place))
        end
    end

    @testset "residual networks have the parameters of the paper" begin
        for (model, count) in (("resnet18", 11_173_962), ("resnet50", 23_520_842))
            chain, names = build_model(small_trial(model), (32, 32, 3), 0.0)
            places = parameter_places(chain, names)

            @test sum(length(array_at(chain, place)) for place in places) == count
            @test "s2b1_skip_norm.weight" in [place.name for place in places]
        end
    end

    @testset "a convolution is a cross-correlation" begin
        trainer, weights = small_trainer(small_trial("lenet5"), (28, 28, 1))
        image = zeros(Float32, 28, 28, 1, 1)
        image[1, 1] = 1.0f0

        @test trainer.model[1](image)[1, 1, :, 1] ≈ weights["conv1.weight"][1, 1, 1, :] .+ weights["conv1.bias"]
    end

    @testset "the optimizer $optimizer follows the contract" for optimizer in ("sgd", "adam", "adamw")
        trial = small_trial("mlp"; optimizer = optimizer)
        trainer, weights = small_trainer(trial, (4, 3, 1))
        _, (gradient,) = loss_and_gradient(trainer, random_batch((4, 3, 1), 3))
        place = first(parameter_places(trainer.model, trainer.names))
        w = Float64.(array_at(trainer.model, place))
        start = copy(w)
        m, v, rng = zero(w), zero(w), MersenneTwister(3)
        for t in 1:10
            given = randn(rng, Float32, size(w))
            copyto!(array_at(gradient, place), given)
            g = Float64.(given)
            update!(trainer.state, trainer.model, gradient)
            optimizer == "adamw" ? (w = w .- 0.01 * 0.1 .* w) : (g = g .+ 0.1 .* w)
            if optimizer == "sgd"
                v = 0.9 .* v .+ g
                w = w .- 0.01 .* v
            else
                m, v = 0.9 .* m .+ 0.1 .* g, 0.999 .* v .+ 0.001 .* g .^ 2
                w = w .- 0.01 .* (m ./ (1 - 0.9^t)) ./ (sqrt.(v ./ (1 - 0.999^t)) .+ 1e-8)
            end
        end

        # adamw: the decay and the step of Adam are two terms of one update, the contract's and Flux's alike
        @test array_at(trainer.model, place) - start ≈ w - start rtol = 1e-4
    end

    @testset "the same seed draws the same masks, another seed others" begin
        trial = small_trial("mlp")
        trainer, weights = small_trainer(trial, (4, 3, 1); dropout_rate = 0.5)
        images = random_batch((4, 3, 1), 9).images
        logits(seed) = reset!(trainer, weights, merge(trial, Trial("seed" => seed))).model(images)

        @test logits(7) == logits(7)
        @test logits(7) != logits(8)
    end

    @testset "evaluation has no dropout, moves no statistics, and counts every example" begin
        trainer, _ = small_trainer(small_trial("cnn"), (32, 32, 3); dropout_rate = 0.5)
        test = cut(random_batch((32, 32, 3), 5), 3)
        before = [copy(array_at(trainer.model, p)) for p in statistics_places(trainer.model, trainer.names)]

        once, again = evaluate!(trainer, test), evaluate!(trainer, test)

        @test once == again
        @test length.(test) == [3, 2]
        @test before == [array_at(trainer.model, p) for p in statistics_places(trainer.model, trainer.names)]
    end

    @testset "a training step moves the running statistics by the momentum" begin
        trainer, weights = small_trainer(small_trial("cnn"), (32, 32, 3))
        batch = random_batch((32, 32, 3), 4)
        activations = trainer.model[1](batch.images)
        n = length(activations) / 32
        mean = vec(sum(activations; dims = (1, 2, 4))) ./ n
        variance = vec(sum((activations .- reshape(mean, 1, 1, :, 1)) .^ 2; dims = (1, 2, 4))) ./ (n - 1)

        step!(trainer, batch)

        @test trainer.model[2].μ ≈ 0.9f0 .* weights["norm1.running_mean"] .+ 0.1f0 .* mean rtol = 1e-4
        @test trainer.model[2].σ² ≈ 0.9f0 .* weights["norm1.running_var"] .+ 0.1f0 .* variance rtol = 1e-4
    end

    @testset "a batch holds the examples that the order names; the last one is smaller" begin
        examples = random_batch((4, 3, 1), 11)
        batches = Batches(examples, Int32[0 10; 1 9; 2 8; 3 7; 4 6; 5 5; 6 4; 7 3; 8 2; 9 1; 10 0], 4)

        @test batch_count(batches) == 3
        @test gather_batch(batches, 2, 1).images == examples.images[:, :, :, [11, 10, 9, 8]]
        @test gather_batch(batches, 2, 3).images == examples.images[:, :, :, [3, 2, 1]]
        @test Flux.onecold(gather_batch(batches, 2, 3).labels) == Flux.onecold(examples.labels)[[3, 2, 1]]
    end

    @testset "a stream gives every example once an epoch, each time in another order" begin
        raw = RawSet(reshape(UInt8.(1:66), 3, 2, 1, 11), Int32.(mod.(1:11, 10)))
        encoded = Encoded(raw, standardised_levels([0.5], [0.25]), 10)
        batches = Batches(encoded, zeros(Int32, 11, 2), 4, Stream(encoded, 4, 7))
        all_examples = resident(encoded)
        function drawn(epoch)
            parts = [next_batch!(batches, epoch, number) for number in 1:3]
            @test length.(parts) == [4, 4, 3]
            return [part.images[:, :, 1, i] => Flux.onecold(part.labels)[i] for part in parts for i in 1:length(part)]
        end

        once, again = drawn(1), drawn(2)

        @test once != again
        whole = [all_examples.images[:, :, 1, i] => Flux.onecold(all_examples.labels)[i] for i in 1:11]
        @test sort(once; by = first ∘ first) == sort(again; by = first ∘ first) == sort(whole; by = first ∘ first)
        restart!(batches, 7)
        @test drawn(1) == once
        @test take_waited_s!(batches) > 0
        @test take_waited_s!(batches) == 0
    end

    @testset "a mistake in a model is said: where, what, what was expected" begin
        message(model, names) = try
            parameter_places(model, names)
            "none"
        catch mistake
            sprint(showerror, mistake)
        end
        two = Chain(Dense(3 => 2), Dense(2 => 2))

        @test occursin("2 layers with parameters (Dense, Dense) and 1 names (a)", message(two, ["a"]))
        @test occursin("type LayerNorm has parameters without names", message(Chain(Flux.LayerNorm(3)), ["a"]))
        @test message(Chain(Conv((2, 2), 1 => 1), Flux.flatten, x -> x), ["a"]) == "none"
        place = first(parameter_places(two, ["a", "b"]))
        @test given_array(Dict("a.weight" => ones(Float32, 3, 2)), place, two) == ones(2, 3)
        @test_throws ErrorException given_array(Dict("a.weight" => ones(Float32, 3, 1)), place, two)
        @test_throws ErrorException given_array(Dict("c.weight" => ones(Float32, 3, 2)), place, two)
    end

    @testset "a package of which only the names are there is not installed" begin
        folder = mktempdir()
        write(joinpath(folder, "Project.toml"), "[deps]\nOwl = \"7da242da-08ed-463a-9acd-ee780be4f1d0\"\n")
        write(joinpath(folder, "Manifest.toml"),
            "[[Owl]]\nuuid = \"7da242da-08ed-463a-9acd-ee780be4f1d0\"\nversion = \"1.0.0\"\n",
            "git-tree-sha1 = \"0123456789012345678901234567890123456789\"\n")
        push!(LOAD_PATH, folder)

        @test Base.identify_package("Owl") !== nothing
        @test !is_installed("Owl")
        pop!(LOAD_PATH)
        @test is_installed("Flux")
        @test !is_installed("Owl")
    end
end

"The weights after three steps with momentum and weight decay, and the sum of their losses."
function three_steps()
    trainer, _ = small_trainer(small_trial("cnn"), (32, 32, 3))
    steps!(trainer, (random_batch((32, 32, 3), examples) for examples in (4, 3, 5)))
    return named_parameters(trainer, weights_of(trainer)), take_loss_sum!(trainer)
end

const BY_OWN_LOOP = three_steps()
include(joinpath(@__DIR__, "..", "flux_loop.jl"))

@testset "Flux.train! computes what a loop of its own does" begin
    weights, loss_sum = three_steps()

    @test weights == first(BY_OWN_LOOP)
    @test loss_sum ≈ last(BY_OWN_LOOP)
    @test endswith(string(which(steps!, (Trainer, Vector)).file), "flux_loop.jl")
end
