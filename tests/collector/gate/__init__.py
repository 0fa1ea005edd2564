"""Tests of collector/gate."""
