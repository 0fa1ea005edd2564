#include "model.h"

#include <torch/nn.h>

#include <algorithm>
#include <utility>
#include <vector>

using torch::Tensor;
using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;
using torch::nn::Dropout;
using torch::nn::Linear;

namespace {

struct NormOptions {
    double epsilon, momentum;
};

BatchNorm2d norm(std::int64_t channels, const NormOptions& options) {
    return BatchNorm2d(torch::nn::BatchNormOptions(channels)
                           .eps(options.epsilon)
                           .momentum(options.momentum)
                           .affine(true)
                           .track_running_stats(true));
}

Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t size) {
    return Conv2d(torch::nn::Conv2dOptions(in, out, size).stride(1).padding(0).bias(true));
}

// Returns a convolution of a residual network: no bias, and as much padding as keeps the size at stride 1.
Conv2d padded_conv(std::int64_t in, std::int64_t out, std::int64_t size, std::int64_t stride) {
    return Conv2d(torch::nn::Conv2dOptions(in, out, size).stride(stride).padding((size - 1) / 2).bias(false));
}

Tensor pool(const Tensor& images) {
    return torch::max_pool2d(images, /*kernel_size=*/2, /*stride=*/2);
}

// Returns what two rounds of a 3 x 3 convolution and a max-pool leave of an image.
std::int64_t pooled_pixels(const ImageShape& shape) {
    const auto pooled = [](std::int64_t side) { return ((side - 2) / 2 - 2) / 2; };
    return pooled(shape[1]) * pooled(shape[2]);
}

struct Mlp : Model {
    Mlp(std::int64_t pixels, std::int64_t units, std::int64_t layers, std::int64_t classes, double dropout_rate)
        : hidden(register_module("hidden", Linear(pixels, units))),
          dropout(register_module("dropout", Dropout(dropout_rate))),
          output(register_module("output", Linear(units, classes))) {
        if (layers == 2) hidden2 = register_module("hidden2", Linear(units, units));
    }

    Tensor forward(const Tensor& images) override {
        Tensor x = torch::relu(hidden(images.flatten(1)));
        if (hidden2) x = torch::relu(hidden2(x));
        return output(dropout(x));
    }

    Linear hidden;
    Dropout dropout;
    Linear hidden2{nullptr};
    Linear output;
};

struct Lenet5 : Model {
    Lenet5(std::int64_t channels, std::int64_t classes)
        : conv1(register_module("conv1", conv(channels, 6, 5))),
          conv2(register_module("conv2", conv(6, 16, 5))),
          dense1(register_module("dense1", Linear(256, 120))),
          dense2(register_module("dense2", Linear(120, 84))),
          dense3(register_module("dense3", Linear(84, classes))) {}

    Tensor forward(const Tensor& images) override {
        Tensor x = pool(torch::relu(conv1(images)));
        x = pool(torch::relu(conv2(x)));
        x = torch::relu(dense1(x.flatten(1)));
        x = torch::relu(dense2(x));
        return dense3(x);
    }

    Conv2d conv1, conv2;
    Linear dense1, dense2, dense3;
};

struct Cnn : Model {
    Cnn(std::int64_t channels, std::int64_t pooled, std::int64_t classes, double dropout_rate)
        : conv1(register_module("conv1", conv(channels, 32, 3))),
          conv2(register_module("conv2", conv(32, 64, 3))),
          hidden(register_module("hidden", Linear(64 * pooled, 64))),
          dropout(register_module("dropout", Dropout(dropout_rate))),
          output(register_module("output", Linear(64, classes))) {}

    void add_norms(const NormOptions& options) {
        norm1 = register_module("norm1", norm(32, options));
        norm2 = register_module("norm2", norm(64, options));
    }

    Tensor forward(const Tensor& images) override {
        Tensor x = torch::relu(conv1(images));
        if (norm1) x = norm1(x);
        x = torch::relu(conv2(pool(x)));
        if (norm2) x = norm2(x);
        x = torch::relu(hidden(pool(x).flatten(1)));
        return output(dropout(x));
    }

    Conv2d conv1, conv2;
    BatchNorm2d norm1{nullptr}, norm2{nullptr};
    Linear hidden;
    Dropout dropout;
    Linear output;
};

struct KerasCnn : Model {
    KerasCnn(std::int64_t channels, std::int64_t pooled, std::int64_t classes, double dropout_rate)
        : conv1(register_module("conv1", conv(channels, 32, 3))),
          conv2(register_module("conv2", conv(32, 64, 3))),
          dropout(register_module("dropout", Dropout(dropout_rate))),
          output(register_module("output", Linear(64 * pooled, classes))) {}

    Tensor forward(const Tensor& images) override {
        Tensor x = pool(torch::relu(conv1(images)));
        x = pool(torch::relu(conv2(x)));
        return output(dropout(x.flatten(1)));
    }

    Conv2d conv1, conv2;
    Dropout dropout;
    Linear output;
};

// A residual block: its convolutions, each with its norm, and a shortcut around them.
struct Block : torch::nn::Module {
    void add_conv(std::int64_t in, std::int64_t out, std::int64_t size, std::int64_t stride,
                  const NormOptions& options) {
        const std::string number = std::to_string(convs.size() + 1);
        convs.push_back(register_module("conv" + number, padded_conv(in, out, size, stride)));
        norms.push_back(register_module("norm" + number, norm(out, options)));
    }

    void add_skip(std::int64_t in, std::int64_t out, std::int64_t stride, const NormOptions& options) {
        skip = register_module("skip", padded_conv(in, out, 1, stride));
        skip_norm = register_module("skip_norm", norm(out, options));
    }

    Tensor forward(const Tensor& images) {
        Tensor x = images;
        for (std::size_t i = 0; i + 1 < convs.size(); ++i) x = torch::relu(norms[i](convs[i](x)));
        x = norms.back()(convs.back()(x));
        return torch::relu(x + (skip ? skip_norm(skip(images)) : images));
    }

    std::vector<Conv2d> convs;
    std::vector<BatchNorm2d> norms;
    Conv2d skip{nullptr};
    BatchNorm2d skip_norm{nullptr};
};

std::shared_ptr<Block> basic_block(std::int64_t in, std::int64_t width, std::int64_t stride,
                                   const NormOptions& options) {
    auto block = std::make_shared<Block>();
    block->add_conv(in, width, 3, stride, options);
    block->add_conv(width, width, 3, 1, options);
    if (stride != 1 || in != width) block->add_skip(in, width, stride, options);
    return block;
}

std::shared_ptr<Block> bottleneck(std::int64_t in, std::int64_t width, std::int64_t stride,
                                  const NormOptions& options) {
    auto block = std::make_shared<Block>();
    block->add_conv(in, width, 1, 1, options);
    block->add_conv(width, width, 3, stride, options);
    block->add_conv(width, 4 * width, 1, 1, options);
    if (stride != 1 || in != 4 * width) block->add_skip(in, 4 * width, stride, options);
    return block;
}

// What tells one residual network from another.
struct Residual {
    decltype(&basic_block) block;
    std::int64_t expansion;              // outer channels of a block by its inner ones
    std::array<std::int64_t, 4> blocks;  // of each stage
};
const Residual kResnet18{basic_block, 1, {2, 2, 2, 2}};
const Residual kResnet50{bottleneck, 4, {3, 4, 6, 3}};
constexpr std::array<std::int64_t, 4> kWidths{64, 128, 256, 512};  // inner channels of each stage

struct Resnet : Model {
    Resnet(const Residual& kind, bool is_cifar, std::int64_t channels, std::int64_t classes, const NormOptions& options)
        : has_pool(!is_cifar),
          stem(register_module("stem", is_cifar ? padded_conv(channels, 64, 3, 1) : padded_conv(channels, 64, 7, 2))),
          stem_norm(register_module("stem_norm", norm(64, options))) {
        std::int64_t in = kWidths.front();
        for (std::size_t stage = 0; stage < kWidths.size(); ++stage) {
            for (std::int64_t number = 1; number <= kind.blocks[stage]; ++number) {
                const std::string name = "s" + std::to_string(stage + 1) + "b" + std::to_string(number);
                const std::int64_t stride = stage > 0 && number == 1 ? 2 : 1;
                blocks.push_back(register_module(name, kind.block(in, kWidths[stage], stride, options)));
                in = kWidths[stage] * kind.expansion;
            }
        }
        output = register_module("output", Linear(in, classes));
    }

    Tensor forward(const Tensor& images) override {
        Tensor x = torch::relu(stem_norm(stem(images)));
        if (has_pool) x = torch::max_pool2d(x, /*kernel_size=*/3, /*stride=*/2, /*padding=*/1);
        for (const auto& block : blocks) x = block->forward(x);
        return output(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
    }

    bool has_pool;
    Conv2d stem;
    BatchNorm2d stem_norm;
    std::vector<std::shared_ptr<Block>> blocks;
    Linear output{nullptr};
};

NormOptions norm_options(const Trial& trial) {
    return {trial.number("model.norm_epsilon"), trial.number("model.norm_momentum")};
}

std::shared_ptr<Model> build_cnn(const Trial& trial, double dropout_rate, const ImageShape& shape) {
    auto model = std::make_shared<Cnn>(shape[0], pooled_pixels(shape), trial.integer("data.classes"), dropout_rate);
    if (trial.flag("model.batch_norm")) model->add_norms(norm_options(trial));
    return model;
}

}  // namespace

std::shared_ptr<Model> build_model(const Trial& trial, double dropout_rate, const ImageShape& shape) {
    const std::string name = trial.text("model");
    const std::int64_t channels = shape[0], classes = trial.integer("data.classes");
    if (name == "mlp") {
        return std::make_shared<Mlp>(channels * shape[1] * shape[2], trial.integer("model.hidden_units"),
                                     trial.integer("model.hidden_layers"), classes, dropout_rate);
    }
    if (name == "lenet5") return std::make_shared<Lenet5>(channels, classes);
    if (name == "keras_cnn") return std::make_shared<KerasCnn>(channels, pooled_pixels(shape), classes, dropout_rate);
    if (name == "cnn") return build_cnn(trial, dropout_rate, shape);
    return std::make_shared<Resnet>(name == "resnet18" ? kResnet18 : kResnet50, trial.text("model.stem") == "cifar",
                                    channels, classes, norm_options(trial));
}

std::string canonical_name(const std::string& name) {
    std::string canonical = name;
    std::replace(canonical.begin(), canonical.begin() + static_cast<std::ptrdiff_t>(name.rfind('.')), '.', '_');
    return canonical;
}
