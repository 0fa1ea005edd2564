// The models of the contract (section 5) as LibTorch modules, and their weights by canonical name.
#pragma once

#include <torch/nn/module.h>

#include <array>
#include <memory>
#include <string>

#include "trial.h"

struct Model : torch::nn::Module {
    virtual torch::Tensor forward(const torch::Tensor& images) = 0;
};

using ImageShape = std::array<std::int64_t, 3>;  // channels, height, width

// Returns the model of a trial with LibTorch's own initial weights.
std::shared_ptr<Model> build_model(const Trial& trial, double dropout_rate, const ImageShape& shape);

// Returns `<layer>.<parameter>` of a module's name for it: `s1b1.conv1.weight` is `s1b1_conv1.weight`.
std::string canonical_name(const std::string& name);
