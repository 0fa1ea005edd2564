#include "schedule.h"

#include <algorithm>
#include <cmath>

namespace {

const double kPi = std::acos(-1.0);

std::int64_t batches_of(const Trial& trial, std::int64_t examples) {
    const std::int64_t size = trial.integer("batch_size");
    return (examples + size - 1) / size;
}

// Returns after which steps a chunk ends, leaving out chunks of no steps.
std::vector<std::int64_t> chunk_stops(std::int64_t steps, std::int64_t chunks) {
    std::vector<std::int64_t> stops;
    for (std::int64_t chunk = 1; chunk <= chunks; ++chunk) {
        const std::int64_t stop = steps * chunk / chunks;
        if (stop > (stops.empty() ? 0 : stops.back())) stops.push_back(stop);
    }
    return stops;
}

}  // namespace

std::string reason_uncut(const Trial& trial, std::int64_t examples) {
    const std::int64_t batches = batches_of(trial, examples), parts = trial.integer("evaluations_per_epoch");
    if (batches >= std::max<std::int64_t>(1, parts)) return "";
    return "evaluations_per_epoch: got " + std::to_string(parts) + "; expected at most " + std::to_string(batches) +
           ", the batches of an epoch";
}

std::vector<Pair> epoch_pairs(const Trial& trial, std::int64_t epochs, std::int64_t examples) {
    const std::int64_t size = trial.integer("batch_size"), batches = batches_of(trial, examples);
    const std::int64_t parts = std::max<std::int64_t>(1, trial.integer("evaluations_per_epoch"));
    const std::int64_t chunks = std::max<std::int64_t>(1, trial.integer("chunks_per_epoch") / parts);
    std::vector<Pair> pairs;
    for (std::int64_t row = 0; row < epochs; ++row) {
        for (std::int64_t part = 1; part <= parts; ++part) {
            const std::int64_t start = batches * (part - 1) / parts, stop = batches * part / parts;
            pairs.push_back({row, static_cast<double>(row) + static_cast<double>(part) / static_cast<double>(parts),
                             start, stop, std::min(stop * size, examples) - start * size,
                             chunk_stops(stop - start, chunks)});
        }
    }
    return pairs;
}

double learning_rate(const Trial& trial, std::int64_t row) {
    const double rate = trial.number("optimizer.learning_rate");
    if (trial.text("optimizer.schedule") == "constant") return rate;
    const auto epochs = static_cast<double>(trial.integer("optimizer.schedule_epochs"));
    return rate * (1 + std::cos(kPi * static_cast<double>(row) / epochs)) / 2;
}
