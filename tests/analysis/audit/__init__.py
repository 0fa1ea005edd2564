"""Tests of analysis/audit."""
