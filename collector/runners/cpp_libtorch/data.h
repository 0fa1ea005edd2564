// Data set, batch order and weights: read from their files, standardised and put on the device.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

#include "trial.h"

using Weights = std::map<std::string, torch::Tensor>;  // by `<layer>.<parameter>`

// What the files of a trial hold, on the host; images are bytes of shape (examples, channels, height, width).
struct Files {
    torch::Tensor train_images, train_labels, test_images, test_labels;
    torch::Tensor order;
    Weights weights;
};

// Standardised images, labels and order on the device.
struct Data {
    torch::Tensor train_images, train_labels, test_images, test_labels;
    torch::Tensor order;
};

Files read_files(const Trial& trial);
Data place_data(const Trial& trial, const Files& files);

Weights read_weights(const std::filesystem::path& folder);

// Writes each array as `<prefix>.<layer>.<parameter>.npy`.
void write_weights(const std::filesystem::path& folder, const std::string& prefix, const Weights& weights);
