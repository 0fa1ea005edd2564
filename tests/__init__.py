"""Tests of deadheat."""
