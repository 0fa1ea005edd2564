# Where parameters lie: SimpleChains keeps all of them in one vector, layer after layer.
#
# A dense layer is a matrix out × (in + 1) whose last column is the bias; a convolution is width × height × in × out,
# followed by its biases. Files hold C order, read with its axes in the opposite direction, so that a convolution has
# the same bytes in both, and a dense weight is in × out and is transposed.

"A layer with parameters: its name in the contract and the size of its weight in SimpleChains."
struct Layer
    name::String
    size::Tuple{Vararg{Int}}
end

outputs(layer::Layer) = length(layer.size) == 2 ? first(layer.size) : last(layer.size)
parameter_count(layers::Vector{Layer}) = sum(prod(layer.size) + outputs(layer) for layer in layers)

"Return the parameters of `layers` as one vector, from arrays by their names in the layout of files."
function flat_vector(layers::Vector{Layer}, arrays)
    parts = [[vec(turned(arrays[layer.name * ".weight"])); vec(arrays[layer.name * ".bias"])] for layer in layers]
    for (layer, part) in zip(layers, parts)
        length(part) == prod(layer.size) + outputs(layer) ||
            error("$(layer.name): $(length(part)) parameters; expected $(prod(layer.size) + outputs(layer))")
    end
    return reduce(vcat, parts)::Vector{Float32}
end

"Return names and arrays, in the layout of files, of what `vector` holds."
function named_arrays(layers::Vector{Layer}, vector)
    found, start = Pair{String,Array{Float32}}[], 0
    for layer in layers
        weights, biases = prod(layer.size), outputs(layer)
        weight = reshape(Array(view(vector, start .+ (1:weights))), layer.size)
        push!(found, layer.name * ".weight" => turned(weight))
        push!(found, layer.name * ".bias" => Array(view(vector, start + weights .+ (1:biases))))
        start += weights + biases
    end
    return found
end

turned(weight) = Array(weight)
turned(weight::AbstractMatrix) = permutedims(weight)
