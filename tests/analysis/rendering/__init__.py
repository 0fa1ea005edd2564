"""Tests of analysis/rendering."""
