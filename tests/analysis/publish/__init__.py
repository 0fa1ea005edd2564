"""Tests of analysis/publish."""
