// One training step and one evaluation in LibTorch, and what the loop and the gate ask beside them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data.h"
#include "events.h"
#include "model.h"
#include "optimizer.h"
#include "trial.h"

// Sets threads, device and precision; a device that is missing is an error, and is never replaced by the CPU.
void initialise(const Trial& trial);

// Returns why a trial cannot be done on this machine, or an empty string.
std::string reason_impossible(const Trial& trial);

// Returns when everything given to the device is done.
void synchronise(const torch::Device& device);

struct Evaluation {
    std::int64_t examples, correct;
    double loss;
};

// Model, optimizer and resident data of one trial. A batch is the indices of its examples, on the device.
class Trainer {
  public:
    Trainer(const Trial& trial, const Data& data, const Weights& weights, double dropout_rate);

    const Trial& trial() const { return trial_; }
    const Data& data() const { return data_; }
    std::int64_t parameters() const;

    // Starts again from `weights`: fresh optimizer, fresh random state, no loss.
    void reset(const Weights& weights);
    // Returns the batches of one epoch, in order.
    std::vector<torch::Tensor> batches(std::int64_t row) const;
    // Does one training step and adds its loss, times its examples, to the sum on the device.
    void step(const torch::Tensor& batch);
    void set_learning_rate(double rate) { optimizer_->set_learning_rate(rate); }
    // Computes the predicted class of each example, in evaluation mode, and leaves it on the device.
    torch::Tensor infer(const torch::Tensor& batch);
    void synchronise() const { ::synchronise(device_); }
    // Returns the summed training loss since the last call, and begins a new sum.
    double take_loss_sum();

    // Gives the logits of the test set, batch by batch, in evaluation mode, each with its labels.
    void predict(const std::function<void(const torch::Tensor& logits, const torch::Tensor& labels)>& use);
    Evaluation evaluate();

    struct Output {
        torch::Tensor logits;
        double loss;
    };
    // Returns logits and mean loss of one batch in training mode; masks are new each time.
    Output logits_and_loss(const torch::Tensor& batch);
    // Returns the gradient of the mean loss of one batch, without weight decay.
    Weights gradient(const torch::Tensor& batch);
    // Does one optimizer update with a given gradient.
    void update(const Weights& gradient);
    Weights weights() const;
    // Returns the running statistics of batch norms.
    Weights statistics() const;
    // Returns what the runtime knows of itself: the optional fields of run_stop.
    std::vector<Field> report() const;

  private:
    struct Forward {
        torch::Tensor logits, loss;
    };
    Forward forward(const torch::Tensor& batch);
    torch::Tensor logits_of(const torch::Tensor& images);

    Trial trial_;
    Data data_;
    torch::Device device_;
    bool is_autocast_;
    std::shared_ptr<Model> model_;
    std::unique_ptr<Optimizer> optimizer_;
    torch::Tensor loss_sum_;
};
