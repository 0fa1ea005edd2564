// Mode gate: what the trainer computes, written for the collector to compare (contract, section 4).
#pragma once

#include <cstdint>

#include "data.h"
#include "train.h"
#include "trial.h"

// Writes every part that the trial asks for.
void prove(const Trial& trial, const Data& data, const Weights& weights);
