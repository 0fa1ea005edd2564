"""The proof of equal work: what a runner is given, what is compared, and what is remembered."""
