"""Tests of analysis/findings."""
