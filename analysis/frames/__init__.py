"""The only reader of the store: its tables as frames, and what of them counts."""
