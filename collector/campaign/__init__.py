"""One execution of a suite: probe, gate, plan, and heat after heat of what is left."""
