// Arrays in .npy version 1.0: little-endian, C order, of float32, float64 or int32.
#pragma once

#include <torch/types.h>

#include <filesystem>

torch::Tensor read_npy(const std::filesystem::path& path);

void write_npy(const std::filesystem::path& path, const torch::Tensor& array);
