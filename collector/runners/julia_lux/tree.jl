# Parameters and states are trees of named tuples; those that hold arrays carry the name of a layer of the contract.

"Return the name in the contract of an array in the tree of parameters or of states, by its layer and field."
file_name(layer, field) = string(layer, ".", field === :scale ? :weight : field)

"Return name and array, in the layout of files, of every array of `tree` of which `wanted(field)` holds."
function named_arrays(tree::NamedTuple, wanted, layer = :none)
    found = Pair{String,Array{Float32}}[]
    for (field, value) in pairs(tree)
        value isa NamedTuple && append!(found, named_arrays(value, wanted, field))
        value isa AbstractArray && wanted(field) && push!(found, file_name(layer, field) => canonical(value))
    end
    return found
end

"Return `tree` with the arrays of which `arrays` has the name, in the layout of files, in the place of its own."
filled(tree::NamedTuple, arrays, layer = :none) =
    NamedTuple{keys(tree)}(Tuple(filled_value(value, arrays, layer, field) for (field, value) in pairs(tree)))

filled_value(value, arrays, layer, field) = value
filled_value(value::NamedTuple, arrays, layer, field) = filled(value, arrays, field)
filled_value(value::AbstractArray, arrays, layer, field) =
    haskey(arrays, file_name(layer, field)) ? canonical(arrays[file_name(layer, field)]) : value

# Files hold C order, read with its axes in the opposite direction: a convolution is width × height × in × out as in
# Lux, but a dense weight is in × out and is transposed.

"Return an array of Lux as the files hold it, in host memory, and the other way round."
canonical(array) = Array(array)
canonical(matrix::AbstractMatrix) = permutedims(Array(matrix))
