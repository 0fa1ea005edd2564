"""Tests of analysis/pages/run."""
