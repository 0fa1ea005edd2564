// Where epochs are cut into pairs, and pairs into chunks (contract, section 2). Pure arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trial.h"

// One epoch pair: the batches of one evaluation interval.
struct Pair {
    std::int64_t row;  // the epoch, from 0: a row of `order`
    double epoch;      // position at the end of the pair, in epochs
    std::int64_t first_batch;
    std::int64_t last_batch;  // the first batch behind the pair
    std::int64_t examples;
    std::vector<std::int64_t> chunk_stops;  // steps since epoch_start after which a chunk ends; the last is all of them
};

// Returns why an epoch cannot be cut into pairs of at least one step, or an empty string.
std::string reason_uncut(const Trial& trial, std::int64_t examples);

// Returns the pairs of all epochs, in order; `examples` are those of one epoch.
std::vector<Pair> epoch_pairs(const Trial& trial, std::int64_t epochs, std::int64_t examples);

// Returns the learning rate of an epoch, counted from 0.
double learning_rate(const Trial& trial, std::int64_t row);
