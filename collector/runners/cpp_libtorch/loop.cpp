#include "loop.h"

#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "schedule.h"

using torch::Tensor;

namespace {

bool diverge(EventWriter& events, const Pair& pair, const std::string& which, double loss) {
    const std::string message = "the " + which + " loss is " + std::to_string(loss) + "; expected a finite number";
    events.write("diverged", {{"epoch", pair.epoch}, {"message", message}});
    return false;
}

void run_steps(Trainer& trainer, const Pair& pair, const std::vector<Tensor>& batches, EventWriter& events,
               bool is_first) {
    std::size_t chunk = 0;
    std::int64_t done = 0;
    for (std::int64_t number = pair.first_batch; number < pair.last_batch; ++number) {
        trainer.step(batches[static_cast<std::size_t>(number)]);
        ++done;
        const bool is_first_step = is_first && done == 1, ends_chunk = done == pair.chunk_stops[chunk];
        if (is_first_step || ends_chunk) trainer.synchronise();
        if (is_first_step) events.write("first_step_stop");
        if (ends_chunk) {
            events.write("chunk_stop", {{"steps", done}});
            ++chunk;
        }
    }
}

bool evaluate(Trainer& trainer, const Pair& pair, EventWriter& events) {
    events.write("eval_start", {{"epoch", pair.epoch}});
    const auto [examples, correct, loss] = trainer.evaluate();
    if (!std::isfinite(loss)) return diverge(events, pair, "test", loss);
    events.write("eval_stop", {{"epoch", pair.epoch}, {"examples", examples}, {"correct", correct}, {"loss", loss}});
    return true;
}

}  // namespace

void warm_up(Trainer& trainer, const Weights& weights) {
    const std::string mode = trainer.trial().text("mode");
    std::set<std::int64_t> met;
    for (const auto& batch : trainer.batches(0)) {
        if (!met.insert(batch.size(0)).second) continue;
        if (mode == "infer") {
            trainer.infer(batch);
        } else {
            trainer.step(batch);
        }
    }
    if (mode == "train") trainer.evaluate();
    trainer.take_loss_sum();
    trainer.synchronise();
    trainer.reset(weights);
}

bool train(Trainer& trainer, EventWriter& events) {
    const Trial& trial = trainer.trial();
    const Tensor& order = trainer.data().order;
    const bool evaluates = trial.text("mode") == "train";
    bool is_first = true;
    for (const Pair& pair : epoch_pairs(trial, order.size(0), order.size(1))) {
        trainer.set_learning_rate(learning_rate(trial, pair.row));
        const std::vector<Tensor> batches = trainer.batches(pair.row);
        events.write("epoch_start", {{"epoch", pair.epoch}});
        run_steps(trainer, pair, batches, events, is_first);
        const double train_loss = trainer.take_loss_sum() / static_cast<double>(pair.examples);
        if (!std::isfinite(train_loss)) return diverge(events, pair, "training", train_loss);
        events.write(
            "epoch_stop",
            {{"epoch", pair.epoch}, {"examples", pair.examples}, {"train_loss", train_loss}, {"data_wait_s", 0.0}});
        if (evaluates && !evaluate(trainer, pair, events)) return false;
        is_first = false;
    }
    return true;
}

void infer(Trainer& trainer, EventWriter& events) {
    const std::vector<Tensor> batches = trainer.batches(0);
    const auto steps = static_cast<std::int64_t>(batches.size());
    for (const double epoch : {1.0, 2.0}) {
        events.write("epoch_start", {{"epoch", epoch}});
        for (std::int64_t done = 1; done <= steps; ++done) {
            trainer.infer(batches[static_cast<std::size_t>(done - 1)]);
            if (epoch == 2.0 && done < steps) continue;
            trainer.synchronise();
            if (epoch == 1.0 && done == 1) events.write("first_step_stop");
            events.write("chunk_stop", {{"steps", done}});
        }
        events.write("epoch_stop",
                     {{"epoch", epoch}, {"examples", trainer.data().order.size(1)}, {"data_wait_s", 0.0}});
    }
}
