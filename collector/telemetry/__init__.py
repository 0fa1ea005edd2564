"""What is read while a run is under way: the protocol and its implementations."""
