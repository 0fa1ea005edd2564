"""The contract with the runners: the trial that one is given and the events that it writes."""
