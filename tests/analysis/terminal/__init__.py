"""Tests of analysis/terminal."""
