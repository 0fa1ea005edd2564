"""Tests of collector/machine."""
