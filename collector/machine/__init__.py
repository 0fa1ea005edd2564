"""The machine: what it is, what is wrong with it, setting it, its peak rate, and one collection at a time."""
