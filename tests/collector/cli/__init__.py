"""Tests of collector/cli."""
