"""Tests of collector/plan."""
