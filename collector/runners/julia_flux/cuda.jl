# An NVIDIA GPU. Written, not yet verified.

import CUDA, cuDNN

to_device(array) = Flux.gpu(array)

"Return when everything given to the GPU by any task is done; CUDA.synchronize() waits for the current task's only."
synchronise(_) = CUDA.device_synchronize()

"Return the high-water marks of CUDA's memory pool, which Flux's arrays lie in."
function device_report()
    pool = CUDA.memory_pool(CUDA.device())
    mark(attribute) = Int(CUDA.attribute(UInt64, pool, attribute))
    return (
        "device_bytes_used" => mark(CUDA.MEMPOOL_ATTR_USED_MEM_HIGH),
        "device_bytes_reserved" => mark(CUDA.MEMPOOL_ATTR_RESERVED_MEM_HIGH),
    )
end

"Seed what draws dropout masks on the GPU."
seed_device!(seed::Int) = CUDA.seed!(seed)

"Strict float32 for matrix products; NVIDIA_TF32_OVERRIDE in runner.toml keeps cuDNN from TensorFloat-32 too."
set_precision() = CUDA.math_mode!(CUDA.PEDANTIC_MATH)
