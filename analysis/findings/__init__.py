"""Comparisons become findings and verdicts; levels over campaigns become trends."""
