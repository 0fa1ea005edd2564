#include "train.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/cuda.h>
#include <torch/nn.h>

#include <stdexcept>
#include <string>
#include <utility>

using torch::Tensor;

namespace {

// While it lives, the inputs of matrix products and convolutions are in bfloat16.
class Autocast {
  public:
    explicit Autocast(torch::DeviceType device) : device_(device) {
        at::autocast::set_autocast_dtype(device_, torch::kBFloat16);
        at::autocast::set_autocast_enabled(device_, true);
        at::autocast::increment_nesting();
    }
    ~Autocast() {
        if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
        at::autocast::set_autocast_enabled(device_, false);
    }
    Autocast(const Autocast&) = delete;
    Autocast& operator=(const Autocast&) = delete;

  private:
    torch::DeviceType device_;
};

// Returns the layout of kernels, which is that of PyTorch's runner: channels last where it is faster and as exact.
// On a CPU it is faster, but batch norms then sum a channel without pairing, which puts the logits of `cnn` 7e-5 off.
// On a GPU tensor cores read it; strict float32 does not use them.
torch::MemoryFormat memory_format(const Trial& trial) {
    if (trial.text("device") == "cuda")
        return trial.text("dtype") == "fp32" ? torch::MemoryFormat::Contiguous : torch::MemoryFormat::ChannelsLast;
    const std::string model = trial.text("model");
    const bool is_plain_cnn = model == "cnn" && !trial.flag("model.batch_norm");
    const bool is_exact = model == "lenet5" || model == "keras_cnn" || is_plain_cnn;
    return is_exact ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
}

Tensor mean_loss(const Tensor& logits, const Tensor& labels) {
    return torch::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean);
}

Tensor summed_loss(const Tensor& logits, const Tensor& labels) {
    return torch::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Sum);
}

}  // namespace

void initialise(const Trial& trial) {
    at::Context& context = at::globalContext();
    context.setFlushDenormal(true);  // threads started later inherit it
    at::set_num_threads(static_cast<int>(trial.integer("threads")));
    at::set_num_interop_threads(1);
    if (trial.text("device") == "cuda" && !torch::cuda::is_available())
        throw std::runtime_error("device: got cuda; LibTorch has no such device here");
    const auto strict = at::Float32Precision::IEEE;
    const auto asked = trial.text("dtype") == "tf32" ? at::Float32Precision::TF32 : strict;
    for (const auto operation : {at::Float32Op::MATMUL, at::Float32Op::CONV}) {
        context.setFloat32Precision(at::Float32Backend::CUDA, operation, asked);
        context.setFloat32Precision(at::Float32Backend::MKLDNN, operation, strict);
    }
    context.setAllowBF16ReductionCuBLAS(false);
    context.setBenchmarkCuDNN(true);  // the search ends before compile_stop: every shape is met there
    context.setDeterministicCuDNN(false);
}

std::string reason_impossible(const Trial& trial) {
    if (trial.text("dtype") == "tf32" && trial.text("device") != "cuda")
        return "dtype: got tf32; TensorFloat-32 is a format of cuda devices";
    return "";
}

void synchronise(const torch::Device& device) {
    if (device.is_cuda()) torch::cuda::synchronize();
}

Trainer::Trainer(const Trial& trial, const Data& data, const Weights& weights, double dropout_rate)
    : trial_(trial), data_(data), device_(trial.text("device")), is_autocast_(trial.text("dtype") == "bf16") {
    const auto sizes = data.train_images.sizes();
    model_ = build_model(trial, dropout_rate, {sizes[1], sizes[2], sizes[3]});
    model_->to(device_);
    for (auto& parameter : model_->parameters()) {
        // `contiguous` would leave kernels of one channel as they are, whose images then stay channels first.
        if (parameter.dim() == 4)
            parameter.set_data(
                parameter.to(parameter.options(), /*non_blocking=*/false, /*copy=*/true, memory_format(trial)));
    }
    reset(weights);
}

std::int64_t Trainer::parameters() const {
    std::int64_t count = 0;
    for (const auto& parameter : model_->parameters()) count += parameter.numel();
    return count;
}

void Trainer::reset(const Weights& weights) {
    torch::NoGradGuard no_grad;
    for (const auto& parameter : model_->named_parameters())
        parameter.value().copy_(weights.at(canonical_name(parameter.key())));
    for (const auto& buffer : model_->named_buffers()) {
        const auto given = weights.find(canonical_name(buffer.key()));
        given == weights.end() ? buffer.value().zero_() : buffer.value().copy_(given->second);
    }
    model_->train();
    optimizer_ = build_optimizer(trial_, model_->parameters());
    loss_sum_ = torch::zeros({}, device_);
    torch::manual_seed(static_cast<std::uint64_t>(trial_.integer("seed")));
    synchronise();
}

std::vector<Tensor> Trainer::batches(std::int64_t row) const {
    return data_.order[row].split(trial_.integer("batch_size"));
}

void Trainer::step(const Tensor& batch) {
    optimizer_->zero_grad();
    const Tensor loss = forward(batch).loss;
    loss.backward();
    optimizer_->step();
    loss_sum_.add_(loss.detach(), /*alpha=*/batch.size(0));
}

Tensor Trainer::infer(const Tensor& batch) {
    const c10::InferenceMode inference;
    if (model_->is_training()) model_->eval();
    return logits_of(data_.train_images.index_select(0, batch)).argmax(1);
}

double Trainer::take_loss_sum() {
    const double loss_sum = loss_sum_.item<double>();
    loss_sum_.zero_();
    return loss_sum;
}

void Trainer::predict(const std::function<void(const Tensor& logits, const Tensor& labels)>& use) {
    const c10::InferenceMode inference;
    const std::int64_t size = trial_.integer("eval_batch_size");
    model_->eval();
    for (std::int64_t start = 0; start < data_.test_images.size(0); start += size)
        use(logits_of(data_.test_images.slice(0, start, start + size)),
            data_.test_labels.slice(0, start, start + size));
    model_->train();
}

Evaluation Trainer::evaluate() {
    const c10::InferenceMode inference;
    Tensor correct = torch::zeros({}, torch::TensorOptions(device_).dtype(torch::kInt64));
    Tensor loss_sum = torch::zeros({}, device_);
    predict([&](const Tensor& logits, const Tensor& labels) {
        correct += (logits.argmax(1) == labels).sum();
        loss_sum += summed_loss(logits, labels);
    });
    const std::int64_t examples = data_.test_labels.size(0);
    return {examples, correct.item<std::int64_t>(), loss_sum.item<double>() / static_cast<double>(examples)};
}

Trainer::Output Trainer::logits_and_loss(const Tensor& batch) {
    torch::NoGradGuard no_grad;
    const Forward result = forward(batch);
    return {result.logits.cpu(), result.loss.item<double>()};
}

Weights Trainer::gradient(const Tensor& batch) {
    optimizer_->zero_grad();
    forward(batch).loss.backward();
    Weights gradient;
    for (const auto& parameter : model_->named_parameters())
        gradient[canonical_name(parameter.key())] = parameter.value().grad().cpu();
    return gradient;
}

void Trainer::update(const Weights& gradient) {
    for (const auto& parameter : model_->named_parameters()) {
        const Tensor& given = gradient.at(canonical_name(parameter.key()));
        parameter.value().mutable_grad() = torch::empty_like(parameter.value().detach()).copy_(given);
    }
    optimizer_->step();
}

Weights Trainer::weights() const {
    Weights weights;
    for (const auto& parameter : model_->named_parameters())
        weights[canonical_name(parameter.key())] = parameter.value().detach().cpu();
    return weights;
}

Weights Trainer::statistics() const {
    Weights statistics;
    for (const auto& buffer : model_->named_buffers()) {
        if (buffer.value().is_floating_point()) statistics[canonical_name(buffer.key())] = buffer.value().cpu();
    }
    return statistics;
}

std::vector<Field> Trainer::report() const {
    const Tensor subnormals = torch::full({1 << 20}, 1e-38).mul(0.01);  // long enough for all threads
    std::vector<Field> report{{"flushes_subnormals", subnormals.eq(0).all().item<bool>()},
                              {"threads", std::int64_t{at::get_num_threads()}}};
    if (device_.is_cuda()) {
        const auto stats = at::getDeviceAllocator(torch::kCUDA)->getDeviceStats(0);
        constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        report.push_back({"device_bytes_used", stats.allocated_bytes[kAll].peak});
        report.push_back({"device_bytes_reserved", stats.reserved_bytes[kAll].peak});
    }
    return report;
}

Trainer::Forward Trainer::forward(const Tensor& batch) {
    const Tensor logits = logits_of(data_.train_images.index_select(0, batch));
    return {logits, mean_loss(logits, data_.train_labels.index_select(0, batch))};
}

Tensor Trainer::logits_of(const Tensor& images) {
    if (!is_autocast_) return model_->forward(images);
    const Autocast bfloat16(device_.type());
    return model_->forward(images).to(torch::kFloat32);
}
