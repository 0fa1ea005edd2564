# julia runtests.jl: what this runner and the files shared in ../_julia promise.

using Random: MersenneTwister
using Test

for file in ("events", "model", "data", "session", "train", "describe")
    include(joinpath(@__DIR__, "..", file * ".jl"))
end

# The trial of a small perceptron: 6 inputs, 5 hidden units, 10 classes.
const SETTINGS = """
{
"batch_size": 4,
"data.mean": [0.5],
"data.std": [0.25],
"data.test_images": "a folder/t10k-images é",
"epochs": 2,
"flags": [1, 2.5, "x"],
"mode": "train",
"model.dropout_rate": 0.5,
"model.hidden_units": 5,
"nothing": [],
"optimizer": "adam",
"optimizer.beta1": 0.9,
"optimizer.beta2": 0.999,
"optimizer.epsilon": 1e-08,
"optimizer.learning_rate": 0.01,
"optimizer.weight_decay": 0.1,
"resumed": false,
"seed": 7,
"shared": true
}
"""

random_layer(rng, inputs, outputs) = Dense(randn(rng, Float32, inputs, outputs), randn(rng, Float32, outputs))
random_model(rng) = Mlp(random_layer(rng, 6, 5), random_layer(rng, 5, CLASSES))

"Eleven random examples in a given order of two epochs, in batches of 4, 4 and 3."
function small_batches(rng)
    examples = Examples(randn(rng, Float32, 6, 11), rand(rng, Int32(1):Int32(CLASSES), 11))
    return Batches(examples, Int32[0 10; 1 9; 2 8; 3 7; 4 6; 5 5; 6 4; 7 3; 8 2; 9 1; 10 0], 4)
end

"A session on the small trial, with any of its settings replaced."
function small_session(rng; changes...)
    trial = parse_trial(SETTINGS)
    for (key, value) in changes
        trial[replace(string(key), "__" => ".")] = value
    end
    batches, weights = small_batches(rng), random_model(rng)
    return build_session(trial, weights, batches, [batches.examples]), batches, weights
end

parameters(model) = [array for (_, layer) in layers(model) for array in (layer.weight, layer.bias)]

"The loss in Float64, written as the formula says: the mean over the examples."
function loss64(arrays, images, labels)
    W1, b1, W2, b2 = arrays
    logits = W2' * max.(W1' * images .+ b1, 0) .+ b2
    return sum(log(sum(exp.(logits[:, j]))) - logits[labels[j], j] for j in eachindex(labels)) / length(labels)
end

"The central difference of the loss for each element of `arrays[place]`."
function difference64(arrays, place, images, labels; step = 1e-6)
    slopes = similar(arrays[place])
    for element in eachindex(slopes)
        shifted(by) = (moved = deepcopy(arrays); moved[place][element] += by; loss64(moved, images, labels))
        slopes[element] = (shifted(step) - shifted(-step)) / 2step
    end
    return slopes
end

"The lines that `write` puts into an event log."
function logged(write)
    path, file = mktemp()
    write(EventLog(file))
    close(file)
    return readlines(path)
end

"A file with these bytes, as IDX files are: numbers with the highest byte first."
function idx_file(magic, extents, bytes)
    path, file = mktemp()
    write(file, hton(UInt32(magic)), hton.(UInt32.(extents))..., UInt8.(bytes))
    close(file)
    return path
end

kinds(lines) = [match(r"\"kind\": \"(\w+)\"", line)[1] for line in lines]

@testset "julia_stdlib" begin
    @testset "trial" begin
        trial = parse_trial(SETTINGS)

        @test integer(trial, "batch_size") === 4
        @test number(trial, "optimizer.epsilon") === 1e-8
        @test number(trial, "epochs") === 2.0
        @test numbers(trial, "data.mean") == [0.5]
        @test_throws TrialError numbers(trial, "epochs")
        @test text(trial, "data.test_images") == "a folder/t10k-images é"
        @test trial["shared"] === true && trial["resumed"] === false
        @test trial["flags"] == [1, 2.5, "x"] && isempty(trial["nothing"])
        @test_throws TrialError integer(trial, "steps")
        @test_throws TrialError integer(trial, "mode")
        @test_throws TrialError parse_trial("{\n\"seed\": seven\n}\n")
        @test_throws TrialError parse_trial("{\nseed\n}\n")
    end

    @testset "what a trial may ask" begin
        trial = Trial(key => first(values) for (key, values) in SUPPORTED)
        merge!(trial, Trial("model.hidden_layers" => 1, "data.mean" => Any[0.5]))
        colours = Trial("data.mean" => Any[0.5, 0.4, 0.3])

        @test unsupported_reason(trial) == ""
        @test occursin("channels of data.mean: got 3", unsupported_reason(merge(trial, colours)))
        @test unsupported_reason(merge(trial, Trial("device" => "cuda"))) == "device: got cuda; this runner supports cpu"
        cut = Trial("batch_size" => 4, "evaluations_per_epoch" => 3)
        @test unsupported_cut(cut, zeros(Int32, 9, 1)) == ""
        @test occursin("got 3; expected at most 2", unsupported_cut(cut, zeros(Int32, 8, 1)))
    end

    @testset "npy is NumPy's, C order" begin
        # What numpy.save writes for numpy.array([[1, 2, 3], [4, 5, 6]], dtype="<f4").
        header = rpad("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 117) * "\n"
        path, file = mktemp()
        write(file, "\x93NUMPY\x01\x00", UInt16(118), header, Float32[1, 2, 3, 4, 5, 6])
        close(file)

        @test read_npy(Matrix{Float32}, path) == Float32[1 4; 2 5; 3 6]
        copied = tempname()
        write_npy(copied, Float32[1 4; 2 5; 3 6])
        @test read(copied) == read(path)
        @test_throws NpyError read_npy(Matrix{Int32}, path)
        @test_throws NpyError read_npy(Vector{Float32}, path)
        write(path, read(copied)[1:end-4])
        @test_throws NpyError read_npy(Matrix{Float32}, path)
        write(path, replace(read(copied, String), "False" => "True "))
        @test_throws NpyError read_npy(Matrix{Float32}, path)
        write(path, "not an array, but long enough to hold the header of one")
        @test_throws NpyError read_npy(Matrix{Float32}, path)
    end

    @testset "npy read again" begin
        for T in (Float32, Float64, Int32), extents in ((5,), (2, 3), (2, 3, 4), (0,))
            array = reshape(T.(1:prod(extents)), extents)
            path = tempname()

            write_npy(path, array)

            @test read_npy(Array{T,length(extents)}, path) == array
            @test mod(filesize(path) - sizeof(array), 64) == 0
        end
    end

    @testset "IDX" begin
        images = idx_file(0x803, (2, 2, 3), 1:12)

        @test read_images(images) == UInt8[1 7; 2 8; 3 9; 4 10; 5 11; 6 12]
        @test read_labels(idx_file(0x801, (3,), [9, 0, 4])) == UInt8[9, 0, 4]
        @test_throws IdxError read_labels(images)
        @test_throws IdxError read_images(idx_file(0x803, (2, 2, 3), 1:11))
        @test_throws IdxError read_labels(idx_file(0x801, (), []))
    end

    @testset "the data set is checked and standardised" begin
        trial = Trial(
            "data.train_images" => idx_file(0x803, (3, 1, 2), [0, 255, 51, 102, 0, 0]),
            "data.train_labels" => idx_file(0x801, (3,), [9, 0, 4]),
            "data.test_images" => idx_file(0x803, (3, 1, 2), 1:6), "data.test_labels" => idx_file(0x801, (2,), [1, 2]),
        )
        raw = read_set(trial, "train")
        levels = standardised_levels(0.5, 0.25)

        @test standardise(raw, levels).images ≈ Float32[-2 -1.2 -2; 2 -0.4 -2]
        @test standardise(raw, levels).labels == [10, 1, 5]
        @test length.(standardised_batches(raw, levels, 2)) == [2, 1]
        @test standardised_batches(raw, levels, 2)[2].labels == [5]
        @test_throws TrialError read_set(trial, "test")
        trial["data.test_labels"] = idx_file(0x801, (3,), [1, 2, 10])
        @test_throws TrialError read_set(trial, "test")
    end

    @testset "the order stays inside the training set" begin
        path = tempname()
        write_npy(path, Int32[0 2; 1 1; 2 0])

        @test read_order(Trial("order" => path), 3)[:, 2] == [2, 1, 0]
        @test_throws TrialError read_order(Trial("order" => path), 2)
        write_npy(path, reshape(Int32[-1, 0], 2, 1))
        @test_throws TrialError read_order(Trial("order" => path), 2)
    end

    @testset "events" begin
        lines = logged() do log
            write_event(log, "epoch_stop", UInt64(12), "epoch" => 0.25, "examples" => 3, "train_loss" => 0.5f0)
            write_event(log, "unsupported", UInt64(13), "message" => "a \"b\" \\ c\n", "sure" => true)
        end

        @test lines == [
            "{\"kind\": \"epoch_stop\", \"at_ns\": 12, \"epoch\": 0.25, \"examples\": 3, \"train_loss\": 0.5}",
            "{\"kind\": \"unsupported\", \"at_ns\": 13, \"message\": \"a \\\"b\\\" \\\\ c\\u000a\", \"sure\": true}",
        ]
        @test_throws ArgumentError logged(log -> write_event(log, "epoch_stop", UInt64(1), "train_loss" => NaN))
    end

    @testset "an event can be read as soon as it is written" begin
        path, file = mktemp()

        write_event(EventLog(file), "load_stop", UInt64(1))

        @test length(readlines(path)) == 1
    end

    @testset "the gradient agrees with differences of the Float64 loss" begin
        session, batches, weights = small_session(MersenneTwister(1); model__dropout_rate = 0.0)
        work = gather!(session, batches, 1, 1)
        images, labels = Float64.(work.images), copy(work.labels)
        arrays = [Float64.(array) for array in parameters(weights)]

        loss_sum = loss_and_gradient!(session, work)

        @test loss_sum / 4 ≈ loss64(arrays, images, labels) rtol = 1e-5
        for (place, gradient) in enumerate(parameters(session.gradient))
            @test gradient ≈ difference64(arrays, place, images, labels) rtol = 1e-4
        end
    end

    @testset "the gradient goes through dropout where the forward pass did" begin
        session, batches, weights = small_session(MersenneTwister(2))
        work = gather!(session, batches, 1, 1)
        images, labels = Float64.(work.images), copy(work.labels)

        loss_and_gradient!(session, work)

        kept = 2.0 .* (work.uniform .>= 0.5f0)
        function loss_with_mask(W1)
            hidden = max.(W1' * images .+ weights.hidden.bias, 0) .* kept
            logits = weights.output.weight' * hidden .+ weights.output.bias
            return sum(log(sum(exp.(logits[:, j]))) - logits[labels[j], j] for j in 1:4) / 4
        end
        for element in (1, 8, 17, 30)
            nudge = zeros(6, 5)
            nudge[element] = 1e-6
            W1 = Float64.(weights.hidden.weight)
            slope = (loss_with_mask(W1 .+ nudge) - loss_with_mask(W1 .- nudge)) / 2e-6
            @test session.gradient.hidden.weight[element] ≈ slope atol = 1e-4
        end
        @test 0 < count(iszero, kept) < length(kept)
    end

    @testset "the optimizer $optimizer follows the contract" for optimizer in ("sgd", "adam")
        rng = MersenneTwister(3)
        session, _, weights = small_session(rng; optimizer = optimizer, optimizer__momentum = 0.9)
        w = Float64.(weights.hidden.weight)
        m, v = zero(w), zero(w)
        for t in 1:10
            for gradient in parameters(session.gradient)
                copyto!(gradient, randn(rng, Float32, size(gradient)))
            end
            g = Float64.(session.gradient.hidden.weight) .+ 0.1 .* w
            update!(session.optimizer, session.model, session.gradient)
            if optimizer == "sgd"
                v = 0.9 .* v .+ g
                w = w .- 0.01 .* v
            else
                m, v = 0.9 .* m .+ 0.1 .* g, 0.999 .* v .+ 0.001 .* g .^ 2
                w = w .- 0.01 .* (m ./ (1 - 0.9^t)) ./ (sqrt.(v ./ (1 - 0.999^t)) .+ 1e-8)
            end
        end

        @test session.model.hidden.weight ≈ w rtol = 1e-6
        @test session.model.hidden.weight - weights.hidden.weight ≈ w - weights.hidden.weight rtol = 1e-5
    end

    @testset "the same seed trains the same weights, another seed others" begin
        session, batches, weights = small_session(MersenneTwister(4))
        function trained(seed)
            reset!(session, weights, seed)
            for number in 1:3
                train_step!(session, gather!(session, batches, 1, number))
            end
            return copy(session.model.hidden.weight)
        end

        @test trained(7) == trained(7)
        @test trained(7) != trained(8)
    end

    @testset "a batch holds the examples that the order names; the last one is smaller" begin
        session, batches, _ = small_session(MersenneTwister(5))

        @test gather!(session, batches, 2, 1).images == batches.examples.images[:, [11, 10, 9, 8]]
        last = gather!(session, batches, 2, 3)
        @test last.images == batches.examples.images[:, [3, 2, 1]]
        @test last.labels == batches.examples.labels[[3, 2, 1]]
    end

    @testset "epochs are cut as the contract says" begin
        batches = Batches(Examples(zeros(Float32, 1, 1), Int32[1]), zeros(Int32, 60000, 3), 128)

        intervals = plan_intervals(batches, 4, 20)

        @test [interval.position for interval in intervals] == 0.25:0.25:3
        @test [interval.batches for interval in intervals[1:4]] == [1:117, 118:234, 235:351, 352:469]
        @test [interval.epoch for interval in intervals[4:5]] == [1, 2]
        @test all(interval -> interval.chunks == 5, intervals)
        @test findall(interval -> interval.is_first, intervals) == [1]
        @test filter(step -> ends_chunk(step, 117, 5), 1:117) == [23, 46, 70, 93, 117]
        @test filter(step -> ends_chunk(step, 3, 20), 1:3) == [1, 2, 3]
        @test plan_intervals(batches, 0, 20)[1] == Interval(1.0, 1, 1:469, 20, true)
    end

    @testset "training writes the events of the contract" begin
        session, batches, weights = small_session(MersenneTwister(6))
        test = [batches.examples]
        intervals = plan_intervals(batches, 1, 3)
        compile!(session, batches, test, true)
        reset!(session, weights, 7)

        lines = logged(log -> train!(session, batches, intervals, test, true, log))

        pair = ["epoch_start", "chunk_stop", "chunk_stop", "chunk_stop", "epoch_stop", "eval_start", "eval_stop"]
        @test kinds(lines) == [pair[1]; "first_step_stop"; pair[2:end]; pair]
        @test occursin("\"epoch\": 1.0, \"examples\": 11, \"train_loss\": ", lines[6])
        @test occursin("\"epoch\": 2.0, \"examples\": 11, \"correct\": ", lines[end])
    end

    @testset "a loss that is not finite ends the run as diverged" begin
        session, batches, _ = small_session(MersenneTwister(7))
        session.model.hidden.bias[1] = NaN32
        finished = true

        lines = logged() do log
            finished = train!(session, batches, plan_intervals(batches, 1, 1), [batches.examples], true, log)
        end

        @test !finished
        @test kinds(lines)[end] == "diverged"
        @test occursin("\"epoch\": 1.0, \"message\": \"the training loss is NaN\"", lines[end])
    end

    @testset "the first of equal logits is the prediction" begin
        @test count_correct(Float32[1 0 3; 1 2 3; 0 2 3], Int32[1, 3, 1]) == 2
    end

    @testset "a training step allocates nothing" begin
        session, batches, _ = small_session(MersenneTwister(8))
        function allocated_bytes()
            work = gather!(session, batches, 1, 1)
            train_step!(session, work)
            return @allocated train_step!(session, gather!(session, batches, 1, 1))
        end
        allocated_bytes()

        @test allocated_bytes() <= 16      # the returned loss
    end

    @testset "--describe is one JSON object" begin
        text = description()

        @test occursin(r"^{(\"\w+\": (\"[^\"]*\"|\[\"cpu\"\])(, )?)+}$", text)
        @test occursin("\"language_version\": \"$VERSION\"", text)
    end
end
