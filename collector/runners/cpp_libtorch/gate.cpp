#include "gate.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "npy.h"

using torch::Tensor;

namespace {

constexpr std::int64_t kDropoutBatch = 256;  // examples of one call in part G

Tensor doubles(const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat64);
}

// Returns the first `count` batches of all epochs.
std::vector<Tensor> first_batches(const Trainer& trainer, std::int64_t count) {
    std::vector<Tensor> batches;
    for (std::int64_t row = 0; row < trainer.data().order.size(0); ++row) {
        const std::vector<Tensor> of_row = trainer.batches(row);
        batches.insert(batches.end(), of_row.begin(), of_row.end());
    }
    batches.resize(std::min(batches.size(), static_cast<std::size_t>(count)));
    return batches;
}

std::vector<Tensor> all_batches(const Trainer& trainer) {
    return first_batches(trainer, trainer.data().order.numel());
}

// Part A.
void write_losses(Trainer& trainer, const std::filesystem::path& output) {
    std::vector<double> losses;
    for (const auto& batch : all_batches(trainer)) {
        const auto [logits, loss] = trainer.logits_and_loss(batch);
        if (losses.empty()) write_npy(output / "a.logits.npy", logits);
        losses.push_back(loss);
    }
    write_npy(output / "a.losses.npy", doubles(losses));
}

// Part C.
void write_given_updates(Trainer& trainer, const Weights& gradients, const std::filesystem::path& output) {
    for (std::int64_t number = 0; number < gradients.begin()->second.size(0); ++number) {
        Weights gradient;
        for (const auto& [name, all] : gradients) gradient[name] = all[number];
        trainer.update(gradient);
    }
    write_weights(output, "c.weights", trainer.weights());
}

bool asks_for(const Trial& trial, char part) { return trial.text("gate.parts").find(part) != std::string::npos; }

// Parts A to D; each begins with the gate weights and a fresh optimizer.
void write_training(Trainer& trainer, const Weights& weights, const std::filesystem::path& output) {
    const std::vector<Tensor> batches = trainer.batches(0);
    if (asks_for(trainer.trial(), 'A')) {
        trainer.reset(weights);
        write_losses(trainer, output);
    }
    if (asks_for(trainer.trial(), 'B')) {
        trainer.reset(weights);
        write_weights(output, "b.gradient", trainer.gradient(batches[0]));
    }
    if (asks_for(trainer.trial(), 'C')) {
        trainer.reset(weights);
        write_given_updates(trainer, read_weights(trainer.trial().text("gate.gradients")), output);
    }
    if (asks_for(trainer.trial(), 'D')) {
        trainer.reset(weights);
        trainer.step(batches[0]);
        write_weights(output, "d.weights1", trainer.weights());
        trainer.step(batches[1]);
        write_weights(output, "d.weights2", trainer.weights());
    }
}

// Part E: the running statistics after steps at a learning rate of 0.
void write_statistics(Trainer& trainer, const std::filesystem::path& output) {
    for (const auto& batch : first_batches(trainer, trainer.trial().integer("gate.frozen_steps"))) trainer.step(batch);
    write_weights(output, "e", trainer.statistics());
}

// Part F: the evaluation of the given checkpoint.
void write_evaluation(Trainer& trainer, const std::filesystem::path& output) {
    trainer.reset(read_weights(trainer.trial().text("gate.checkpoint")));
    std::vector<Tensor> logits;
    trainer.predict([&logits](const Tensor& part, const Tensor&) { logits.push_back(part); });
    const auto [examples, correct, loss] = trainer.evaluate();
    write_npy(output / "f.logits.npy", torch::cat(logits));
    write_npy(output / "f.correct.npy", torch::tensor({correct}, torch::kInt32));
    write_npy(output / "f.loss.npy", doubles({loss}));
}

// Part G: the logits of one example again and again, each time with masks of its own.
void write_dropout(Trainer& trainer, const Weights& weights, const std::filesystem::path& output) {
    trainer.reset(weights);
    const Tensor batch = trainer.data().order[0].slice(0, 0, 1).repeat(kDropoutBatch);
    std::vector<Tensor> logits;
    for (std::int64_t call = 0; call < trainer.trial().integer("gate.dropout_repeats") / kDropoutBatch; ++call)
        logits.push_back(trainer.logits_and_loss(batch).logits);
    write_npy(output / "g.logits.npy", torch::cat(logits));
}

// Part T: the loss of each of the first training steps.
void write_trace(Trainer& trainer, const Weights& weights, const std::filesystem::path& output) {
    trainer.reset(weights);
    std::vector<double> losses;
    for (const auto& batch : first_batches(trainer, trainer.trial().integer("gate.traced_steps"))) {
        trainer.step(batch);
        losses.push_back(trainer.take_loss_sum() / static_cast<double>(batch.size(0)));
    }
    write_npy(output / "t.losses.npy", doubles(losses));
}

bool has_norms(const Weights& weights) {
    return std::any_of(weights.begin(), weights.end(),
                       [](const auto& weight) { return weight.first.find(".running_mean") != std::string::npos; });
}

}  // namespace

void prove(const Trial& trial, const Data& data, const Weights& weights) {
    const std::filesystem::path output = trial.text("output");
    const double gate_rate = trial.number("gate.dropout_rate"), own_rate = trial.number("model.dropout_rate");
    Trainer trainer(trial, data, weights, gate_rate);
    write_training(trainer, weights, output);
    if (asks_for(trial, 'F') || asks_for(trial, 'G')) {
        Trainer evaluated(trial, data, weights, own_rate);
        write_evaluation(evaluated, output);
        if (own_rate > 0) write_dropout(evaluated, weights, output);
    }
    if (asks_for(trial, 'E') && has_norms(weights)) {
        Trainer frozen(trial.with("optimizer.learning_rate", "0.0"), data, weights, gate_rate);
        write_statistics(frozen, output);
    }
    if (trial.integer("gate.traced_steps") > 0) write_trace(trainer, weights, output);
}
