#include "data.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "npy.h"

using torch::Tensor;

namespace {

constexpr std::int64_t kCifarLabelBytes = 1, kCifarImageBytes = 3 * 32 * 32;
constexpr int kIdxBytes = 0x08, kIdxInt32 = 0x0C;

Tensor read_bytes(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) throw std::runtime_error(path.string() + ": cannot be read; expected a file of the data set");
    Tensor bytes = torch::empty({static_cast<std::int64_t>(file.tellg())}, torch::kUInt8);
    file.seekg(0);
    if (!file.read(static_cast<char*>(bytes.data_ptr()), static_cast<std::streamsize>(bytes.numel())))
        throw std::runtime_error(path.string() + ": ended while it was read");
    return bytes;
}

// Returns big-endian integers of four bytes each, given along the last dimension.
Tensor big_endian(const Tensor& bytes) {
    static const Tensor places = torch::tensor({1 << 24, 1 << 16, 1 << 8, 1}, torch::kInt64);
    return bytes.to(torch::kInt64).mul(places).sum(-1);
}

// Returns the array in an IDX file of unsigned bytes or of int32.
Tensor read_idx(const std::filesystem::path& path) {
    const Tensor content = read_bytes(path);
    const auto* head = content.const_data_ptr<std::uint8_t>();
    const bool is_idx = content.numel() >= 4 && head[0] == 0 && head[1] == 0;
    if (!is_idx || (head[2] != kIdxBytes && head[2] != kIdxInt32))
        throw std::runtime_error(path.string() + ": is not IDX of bytes (000008) or of int32 (00000c)");
    const std::int64_t size = head[2] == kIdxInt32 ? 4 : 1, dimensions = head[3], start = 4 + 4 * dimensions;
    if (content.numel() < start) throw std::runtime_error(path.string() + ": ends within its header");
    const Tensor sizes = big_endian(content.slice(0, 4, start).view({dimensions, 4}));
    std::vector<std::int64_t> shape(sizes.const_data_ptr<std::int64_t>(),
                                    sizes.const_data_ptr<std::int64_t>() + dimensions);
    const std::int64_t elements = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    if (content.numel() != start + elements * size)
        throw std::runtime_error(path.string() + ": has " + std::to_string(content.numel()) +
                                 " bytes; its header tells of " + std::to_string(start + elements * size));
    if (size == 1) return content.slice(0, start).view(shape);
    return big_endian(content.slice(0, start).view({elements, 4})).view(shape);
}

std::pair<Tensor, Tensor> read_cifar10(const std::vector<std::string>& paths) {
    std::vector<Tensor> batches;
    for (const auto& path : paths) {
        const Tensor bytes = read_bytes(path);
        if (bytes.numel() % (kCifarLabelBytes + kCifarImageBytes) != 0)
            throw std::runtime_error(path + ": has " + std::to_string(bytes.numel()) +
                                     " bytes; expected a multiple of 3073");
        batches.push_back(bytes.view({-1, kCifarLabelBytes + kCifarImageBytes}));
    }
    const Tensor records = torch::cat(batches);
    return {records.slice(1, kCifarLabelBytes).reshape({-1, 3, 32, 32}), records.select(1, 0).to(torch::kInt64)};
}

std::pair<Tensor, Tensor> read_split(const Trial& trial, const std::string& split) {
    if (trial.text("data.format") == "cifar10_binary") return read_cifar10(trial.texts("data." + split + "_batches"));
    const Tensor images = read_idx(trial.text("data." + split + "_images"));
    const Tensor labels = read_idx(trial.text("data." + split + "_labels")).to(torch::kInt64);
    return {images.dim() == 4 ? images : images.unsqueeze(1), labels};
}

// Returns `(pixel / 255 - mean) / std` of each channel, in float32.
Tensor standardise(const Trial& trial, const Tensor& pixels) {
    const auto of_channels = [&trial](const std::string& key) {
        return torch::tensor(trial.numbers(key), torch::kFloat32).view({-1, 1, 1});
    };
    return pixels.to(torch::kFloat32).div_(255).sub_(of_channels("data.mean")).div_(of_channels("data.std"));
}

}  // namespace

Files read_files(const Trial& trial) {
    const auto [train_images, train_labels] = read_split(trial, "train");
    const auto [test_images, test_labels] = read_split(trial, "test");
    return {train_images,
            train_labels,
            test_images,
            test_labels,
            read_npy(trial.text("order")),
            read_weights(trial.text("weights"))};
}

Data place_data(const Trial& trial, const Files& files) {
    const torch::Device device(trial.text("device"));
    return {standardise(trial, files.train_images).to(device), files.train_labels.to(device),
            standardise(trial, files.test_images).to(device), files.test_labels.to(device), files.order.to(device)};
}

Weights read_weights(const std::filesystem::path& folder) {
    Weights weights;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".npy") weights[entry.path().stem()] = read_npy(entry.path());
    }
    return weights;
}

void write_weights(const std::filesystem::path& folder, const std::string& prefix, const Weights& weights) {
    for (const auto& [name, array] : weights) write_npy(folder / (prefix + "." + name + ".npy"), array);
}
