"""The models in float64: losses, gradients and updates that every runner is held to."""
