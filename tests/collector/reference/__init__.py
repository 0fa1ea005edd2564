"""Tests of collector/reference."""
