#include "optimizer.h"

#include <ATen/ATen.h>

#include <utility>

using torch::Tensor;
using Tensors = std::vector<Tensor>;

namespace {

Tensors zeros_like(const Tensors& parameters) {
    Tensors zeros;
    for (const auto& parameter : parameters) zeros.push_back(torch::zeros_like(parameter.detach()));
    return zeros;
}

class Sgd : public Optimizer {
  public:
    Sgd(const Trial& trial, Tensors parameters)
        : Optimizer(std::move(parameters), trial.number("optimizer.learning_rate")),
          momentum_(trial.number("optimizer.momentum")),
          weight_decay_(trial.number("optimizer.weight_decay")),
          velocities_(momentum_ == 0 ? Tensors{} : zeros_like(parameters_)) {}

  private:
    void update(const Tensors& gradients) override {
        at::_fused_sgd_(parameters_, gradients, velocities_, weight_decay_, momentum_, learning_rate_,
                        /*dampening=*/0.0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false);
    }

    double momentum_, weight_decay_;
    Tensors velocities_;
};

// Adam, whose weight decay is part of the gradient, and AdamW, whose weight decay is not.
class Adam : public Optimizer {
  public:
    Adam(const Trial& trial, Tensors parameters)
        : Optimizer(std::move(parameters), trial.number("optimizer.learning_rate")),
          is_adamw_(trial.text("optimizer") == "adamw"),
          beta1_(trial.number("optimizer.beta1")),
          beta2_(trial.number("optimizer.beta2")),
          epsilon_(trial.number("optimizer.epsilon")),
          weight_decay_(trial.number("optimizer.weight_decay")),
          means_(zeros_like(parameters_)),
          squares_(zeros_like(parameters_)) {
        for (const auto& parameter : parameters_) steps_.push_back(torch::zeros({}, parameter.device()));
    }

  private:
    void update(const Tensors& gradients) override {
        at::_foreach_add_(steps_, 1);
        if (is_adamw_) {
            at::_fused_adamw_(parameters_, gradients, means_, squares_, /*max_exp_avg_sqs=*/{}, steps_, learning_rate_,
                              beta1_, beta2_, weight_decay_, epsilon_, /*amsgrad=*/false, /*maximize=*/false);
        } else {
            at::_fused_adam_(parameters_, gradients, means_, squares_, /*max_exp_avg_sqs=*/{}, steps_, learning_rate_,
                             beta1_, beta2_, weight_decay_, epsilon_, /*amsgrad=*/false, /*maximize=*/false);
        }
    }

    bool is_adamw_;
    double beta1_, beta2_, epsilon_, weight_decay_;
    Tensors means_, squares_, steps_;
};

}  // namespace

Optimizer::Optimizer(Tensors parameters, double learning_rate)
    : parameters_(std::move(parameters)), learning_rate_(learning_rate) {}

void Optimizer::step() {
    torch::NoGradGuard no_grad;
    Tensors gradients;
    gradients.reserve(parameters_.size());
    for (const auto& parameter : parameters_) gradients.push_back(parameter.grad());
    update(gradients);
}

void Optimizer::zero_grad() {
    for (const auto& parameter : parameters_) parameter.mutable_grad().reset();
}

std::unique_ptr<Optimizer> build_optimizer(const Trial& trial, Tensors parameters) {
    if (trial.text("optimizer") == "sgd") return std::make_unique<Sgd>(trial, std::move(parameters));
    return std::make_unique<Adam>(trial, std::move(parameters));
}
