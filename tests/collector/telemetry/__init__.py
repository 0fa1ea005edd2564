"""Tests of what is read while a run is under way."""
