"""Run the benchmark matrix and append normalised records."""
