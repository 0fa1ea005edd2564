"""Tests of analysis/pages."""
