"""Tests of collector/run."""
