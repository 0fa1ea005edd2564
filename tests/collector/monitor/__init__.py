"""Tests of collector/monitor."""
