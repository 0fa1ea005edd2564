// Warm-up and the training loop: where the clock starts, stops and is looked at (contract, sections 2 and 3).
#pragma once

#include "events.h"
#include "train.h"

// Does one step per batch shape and, in mode train, one evaluation on scratch state; starts again from `weights`.
void warm_up(Trainer& trainer, const Weights& weights);

// Trains every epoch pair and evaluates after each; returns false as soon as a loss is not finite.
bool train(Trainer& trainer, EventWriter& events);

// Predicts the same batches twice: once synchronised after each for its latency, once at full throughput.
void infer(Trainer& trainer, EventWriter& events);
