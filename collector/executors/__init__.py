"""Where a heat is executed: the protocol and its implementations."""
