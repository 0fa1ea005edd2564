"""The page of one workload and its sections."""
