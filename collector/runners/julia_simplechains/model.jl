# The models of the contract (§5) as SimpleChains, and where their parameters lie.
#
# To add a model: a function that returns a chain and its layers with parameters, in order; and its line in MODELS.
#
# SimpleChains convolves as the contract does, without flipping the kernel.
# A max-pool of an odd side leaves the last row of its gradient as it was, so models with such sides are left out.

using SimpleChains: Activation, Conv, Dropout, Flatten, MaxPool, SimpleChain, TurboDense, relu, static

"Every model by its name: a function of the trial, the shape of images (width × height × channels), the dropout rate."
const MODELS = Dict(
    "mlp" => (trial, shape, rate) -> mlp(prod(shape), integer(trial, "model.hidden_units"), classes(trial), rate),
    "lenet5" => (trial, shape, _) -> lenet5(shape, classes(trial)),
)
push!(SUPPORTED, "model" => sort!(collect(keys(MODELS))))

"Return the chain of `trial` for images of `shape`, and its layers with parameters."
build_model(trial::Trial, shape, dropout_rate::Float64) = MODELS[text(trial, "model")](trial, shape, dropout_rate)

classes(trial::Trial) = integer(trial, "data.classes")

"""
A perceptron with one hidden layer.

SimpleChains' dropout does not scale what is left, and multiplies by `1 - rate` in evaluation; the contract scales by
`1 / (1 - rate)` in training. The activation behind it makes one of the other, in both modes.
"""
function mlp(pixels, units, classes, dropout_rate)
    layers = [Layer("hidden", (units, pixels)), Layer("output", (classes, units))]
    hidden, output = TurboDense(relu, units), TurboDense(identity, classes)
    dropout_rate == 0 && return SimpleChain((static(pixels),), (hidden, output)), layers
    scale = Float32(1 / (1 - dropout_rate))
    dropped = (hidden, Dropout(Float32(dropout_rate)), Activation(x -> scale * x), output)
    return SimpleChain((static(pixels),), dropped), layers
end

"LeNet-5 with ReLU and max-pooling, as SimpleChains' own example writes it."
function lenet5(shape, classes)
    chain = SimpleChain(
        static.(shape),
        (
            Conv(relu, (5, 5), 6),
            MaxPool(2, 2),
            Conv(relu, (5, 5), 16),
            MaxPool(2, 2),
            Flatten(3),
            TurboDense(relu, 120),
            TurboDense(relu, 84),
            TurboDense(identity, classes),
        ),
    )
    layers = [
        Layer("conv1", (5, 5, shape[3], 6)), Layer("conv2", (5, 5, 6, 16)),
        Layer("dense1", (120, 256)), Layer("dense2", (84, 120)), Layer("dense3", (classes, 84)),
    ]
    return chain, layers
end

"Return images as the chain takes them: pixels × examples for a perceptron."
input_of(chain, images) = length(chain.inputdim) == 1 ? reshape(images, :, last(size(images))) : images
