# julia runtests.jl: what the files shared by the Julia runners promise. Needs no framework.
#
# The readers of trials, of MNIST's own files and the writer of events are tested beside julia_stdlib.

using Test

for file in ("trial", "npy", "idx", "cifar10", "dataset", "order", "schedule", "events", "blas", "packages", "cold")
    include(joinpath(@__DIR__, "..", file * ".jl"))
end
using .Trials, .Npy, .Idx, .Cifar10, .Datasets, .Orders, .Schedules, .Events, .BlasInfo, .Packages
include("stand_in.jl")

"A file with these bytes."
function bytes_file(parts...)
    path, file = mktemp()
    write(file, parts...)
    close(file)
    return path
end

"An IDX file: numbers with the highest byte first."
idx_file(magic, extents, elements) = bytes_file(hton(UInt32(magic)), hton.(UInt32.(extents))..., elements)

@testset "shared by the Julia runners" begin
    @testset "IDX with any number of axes" begin
        images = idx_file(0x804, (2, 3, 2, 1), UInt8.(1:12))

        @test size(read_array(images)) == (1, 2, 3, 2)
        @test vec(read_array(images)) == 1:12
        @test read_array(idx_file(0xc01, (3,), hton.(Int32[7, 300, 2]))) == Int32[7, 300, 2]
        @test eltype(read_array(idx_file(0x801, (2,), UInt8[7, 8]))) == UInt8
        @test_throws IdxError read_array(idx_file(0x803, (2, 2, 3), UInt8.(1:11)))
        @test_throws IdxError read_array(idx_file(0xd01, (1,), UInt8.(1:4)))
        @test_throws IdxError read_array(bytes_file(UInt8[0, 0]))
        @test_throws IdxError read_array(bytes_file(hton(UInt32(0x803)), hton(UInt32(2))))
    end

    @testset "npy with any number of axes" begin
        for array in (Float32[1, 2, 3], reshape(Float32.(1:24), 2, 3, 4))
            path = tempname()
            write_npy(path, array)

            @test read_npy(Array{Float32}, path) == array
            @test_throws NpyError read_npy(Array{Int32}, path)
        end
    end

    @testset "CIFAR-10" begin
        first_image, second_image = UInt8.(mod.(0:3071, 256)), fill(0xff, 3072)
        one = bytes_file(UInt8(9), first_image)
        two = bytes_file(UInt8(3), second_image, UInt8(4), first_image)

        images, labels = read_batches([one, two])

        @test labels == Int32[9, 3, 4]
        @test size(images) == (32, 32, 3, 3)
        @test vec(images[:, :, :, 1]) == first_image
        @test images[2, 1, 1, 1] == 0x01 && images[1, 2, 1, 1] == 0x20    # width, then height
        @test all(==(0xff), images[:, :, :, 2])
        @test_throws Cifar10Error read_batches([bytes_file(first_image)])
        @test_throws Cifar10Error read_batches([bytes_file(UInt8[])])
    end

    @testset "the data set is checked and standardised" begin
        trial = Trial(
            "data.classes" => 10, "data.format" => "idx", "data.mean" => Any[0.5], "data.std" => Any[0.25],
            "data.train_images" => idx_file(0x803, (3, 1, 2), UInt8[0, 255, 51, 102, 0, 0]),
            "data.train_labels" => idx_file(0x801, (3,), UInt8[9, 0, 4]),
        )
        raw = read_set(trial, "train")

        @test size(raw.images) == (2, 1, 1, 3)
        @test raw.labels == [9, 0, 4] && length(raw) == 3
        @test reshape(standardise(raw.images, standardised_levels([0.5], [0.25])), 2, 3) ≈ Float32[-2 -1.2 -2; 2 -0.4 -2]
        @test_throws TrialError read_set(merge(trial, Trial("data.classes" => 9)), "train")
        @test_throws TrialError read_set(merge(trial, Trial("data.mean" => Any[0.5, 0.5, 0.5])), "train")
        fewer = idx_file(0x801, (2,), UInt8[1, 2])
        @test_throws TrialError read_set(merge(trial, Trial("data.train_labels" => fewer)), "train")
        flat = idx_file(0x802, (3, 2), UInt8.(1:6))
        @test_throws TrialError read_set(merge(trial, Trial("data.train_images" => flat)), "train")
    end

    @testset "each channel has its own mean and deviation" begin
        images = cat(fill(0x33, 1, 1, 1, 2), fill(0x66, 1, 1, 1, 2); dims = 3)

        @test vec(standardise(images, standardised_levels([0.1, 0.2], [0.5, 0.25]))) ≈ Float32[0.2, 0.8, 0.2, 0.8]
    end

    @testset "weights by the names of their files" begin
        folder = mktempdir()
        write_npy(joinpath(folder, "conv1.weight.npy"), reshape(Float32.(1:16), 2, 2, 2, 2))
        write_npy(joinpath(folder, "conv1.bias.npy"), Float32[1, 2])
        write(joinpath(folder, "notes.txt"), "not an array")

        weights = read_weights(folder)

        @test sort(collect(keys(weights))) == ["conv1.bias", "conv1.weight"]
        @test size(weights["conv1.weight"]) == (2, 2, 2, 2)
    end

    @testset "the order stays inside the training set" begin
        path = tempname()
        write_npy(path, Int32[0 2; 1 1; 2 0])

        @test read_order(Trial("order" => path), 3)[:, 2] == [2, 1, 0]
        @test_throws TrialError read_order(Trial("order" => path), 2)
    end

    @testset "epochs are cut as the contract says" begin
        intervals = plan_intervals(3, 469, 4, 20)

        @test [interval.position for interval in intervals] == 0.25:0.25:3
        @test [interval.batches for interval in intervals[1:4]] == [1:117, 118:234, 235:351, 352:469]
        @test findall(interval -> interval.is_first, intervals) == [1]
        @test filter(step -> ends_chunk(step, 117, 5), 1:117) == [23, 46, 70, 93, 117]
        @test plan_intervals(1, 469, 0, 20) == [Interval(1.0, 1, 1:469, 20, true)]
        @test timed_pieces(intervals[1]) == [1:1, 2:23, 24:46, 47:70, 71:93, 94:117]
        @test timed_pieces(intervals[2]) == [1:23, 24:46, 47:70, 71:93, 94:117]
        @test timed_pieces(Interval(0.0, 1, 1:1, 1, true)) == timed_pieces(Interval(0.0, 1, 1:1, 0, false)) == [1:1]
        @test [batch_range(number, 128, 300) for number in 1:3] == [1:128, 129:256, 257:300]
    end

    @testset "which BLAS computes" begin
        @test blas_description() == "unknown" || occursin(r"^OpenBLAS \d+\.\d+\.\d+.* \w+$", blas_description())
    end

    @testset "batches hold the examples that the order names; the last one is smaller" begin
        batches = place_batches(small_trial(), small_set(), small_order())

        @test batch_count(batches) == 3
        @test pixels(gather_batch(batches, 2, 1)) == [11, 10, 9, 8]
        @test pixels(gather_batch(batches, 2, 3)) == [3, 2, 1]
        @test gather_batch(batches, 2, 3).labels == [3, 2, 1]
        @test length.(cut(batches.source, 5)) == [5, 5, 1]
        @test length(collect(in_order(batches))) == 6
    end

    @testset "a stream begins again with every epoch, in another order, and tells how long it was waited for" begin
        batches = place_batches(small_trial("loader" => "stream"), small_set(), small_order())
        drawn(epoch) = reduce(vcat, [pixels(next_batch!(batches, epoch, number)) for number in 1:3])

        once, again = drawn(1), drawn(2)

        @test sort(once) == sort(again) == 1:11
        @test once != again
        @test take_waited_s!(batches) > 0 == take_waited_s!(batches)
        restart!(batches, 7)
        @test drawn(1) == once
    end

    @testset "a run writes the events of the contract in its modes" begin
        pair = ["epoch_start", "chunk_stop", "chunk_stop", "chunk_stop", "epoch_stop"]
        before = ["import_stop", "load_stop", "preprocess_stop", "build_stop", "compile_stop"]
        evaluation = ["eval_start", "eval_stop"]

        trained = events_of(small_trial())
        @test kinds(trained) ==
            [before; pair[1]; "first_step_stop"; pair[2:end]; evaluation; pair; evaluation; "run_stop"]
        @test occursin("\"examples\": 11, \"train_loss\": 6.0, ", trained[11])    # the mean of 1 to 11
        @test occursin("\"examples\": 11, \"correct\": 11, \"loss\": 6.0", trained[13])
        timed = events_of(small_trial("mode" => "steps", "evaluations_per_epoch" => 0))
        @test kinds(timed)[(end - 5):end] == [pair; "run_stop"]
        inferred = events_of(small_trial("mode" => "infer", "evaluations_per_epoch" => 0))
        @test count(==("chunk_stop"), kinds(inferred)) == 3 + 1
    end

    @testset "what warming up did is gone when training begins" begin
        trainer = build_trainer(small_trial(), Dict(), (1, 1, 1); dropout_rate = 0.0)
        batches = place_batches(small_trial(), small_set(), small_order())

        warm_up!(trainer, small_trial(), batches, [batches.source])
        @test trainer.steps > 0
        reset!(trainer, Dict(), small_trial())

        @test (trainer.steps, trainer.loss_sum) == (0, 0.0)
    end

    @testset "an ending without training is one event and says why" begin
        last_of(changes...) = last(events_of(small_trial(changes...)))

        @test occursin("model: got rnn; this runner supports owl", last_of("model" => "rnn"))
        @test occursin(
            "loader_workers: got 2; this runner supports 0: MLUtils' num_workers is not written yet",
            last_of("loader_workers" => 2))
        @test occursin("evaluations_per_epoch: got 4; expected at most 3", last_of("evaluations_per_epoch" => 4))
        @test occursin("seed: got 13", last_of("seed" => 13))
        @test occursin("\"diverged\", ", last_of("optimizer.learning_rate" => NaN))
    end

    @testset "the gate's parts are written as files" begin
        output = mktempdir()
        for part in ("gradients", "checkpoint")
            mkdir(joinpath(output, part))
            write_npy(joinpath(output, part, "owl.weight.npy"), Float32[1 2; 3 4; 5 6])
        end
        gate = small_trial(
            "mode" => "gate", "output" => output, "gate.parts" => "ABCDEFG", "gate.traced_steps" => 2,
            "gate.frozen_steps" => 3, "gate.dropout_rate" => 0.0, "gate.dropout_repeats" => 512,
            "model.dropout_rate" => 0.5, "gate.gradients" => joinpath(output, "gradients"),
            "gate.checkpoint" => joinpath(output, "checkpoint"),
        )

        @test kinds(events_of(gate))[end] == "run_stop"

        written(name, T = Float64) = read_npy(Array{T}, joinpath(output, name * ".npy"))
        @test sort(filter(file -> endswith(file, ".npy"), readdir(output))) == [
            "a.logits.npy", "a.losses.npy", "b.gradient.owl.weight.npy", "c.weights.owl.weight.npy",
            "d.weights1.owl.weight.npy", "d.weights2.owl.weight.npy", "f.correct.npy", "f.logits.npy", "f.loss.npy",
            "g.logits.npy", "t.losses.npy"]
        @test length(written("a.losses")) == 6
        @test written("f.loss") == [6.0]
        @test size(written("g.logits", Float32)) == (1, 512)
        # two updates with the given gradients, (1, 3, 5) and (2, 4, 6), from zero at a learning rate of 1
        @test written("c.weights.owl.weight", Float32) == [-3, -7, -11]
    end

    @testset "why a package cannot be loaded is said in one line" begin
        manifest = joinpath(mktempdir(), "Manifest.toml")
        reason() = Packages.reason_missing("Owl", manifest)

        @test startswith(reason(), "Owl is not installed in the project ")
        write(manifest, "julia_version = \"1.0.3\"\n")
        @test occursin("was made by Julia 1.0.3; this is Julia $VERSION. Delete it and install again", reason())
        write(manifest, "julia_version = \"$VERSION\"\n")
        @test reason() == "Owl is not in $manifest"
        for heading in ("[[Owl]]", "[[deps.Owl]]")      # before and since Julia 1.7
            write(manifest, "$heading\nuuid = \"1\"\n")
            @test reason() == "Owl is named in $manifest and its files are not there: the installation was not completed"
        end
    end

    @testset "a cold depot has all but what was compiled; Julia's own stays" begin
        depot, shipped = mktempdir(), abspath(Sys.BINDIR, Base.DATAROOTDIR, "julia")
        foreach(name -> mkdir(joinpath(depot, name)), ("packages", "compiled", "artifacts"))
        write(joinpath(depot, "packages", "owl.jl"), "owl")

        depots = forget_compiled!([depot, joinpath(depot, "none"), shipped])

        @test readdir(depots[1]) == ["artifacts", "packages"]
        @test read(joinpath(depots[1], "packages", "owl.jl"), String) == "owl"
        @test isempty(readdir(depots[2]))
        @test depots[3] == shipped
        rm(depots[1]; recursive = true)
        @test isfile(joinpath(depot, "packages", "owl.jl"))      # links go, what they lead to stays
    end

    @testset "the version of a package is read, the package is not" begin
        @test installed_version(nothing) === nothing
        @test json_object(["a" => "1", "b" => "x y"], ["cpu"]) == "{\"a\": \"1\", \"b\": \"x y\", \"devices\": [\"cpu\"]}"
    end
end
