"""Tests of collector/protocol."""
