"""Tests of the runners: each drives the real process."""
