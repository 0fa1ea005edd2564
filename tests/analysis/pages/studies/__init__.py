"""Tests of analysis/pages/studies."""
