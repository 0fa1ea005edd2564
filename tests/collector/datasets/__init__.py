"""Tests of collector/datasets."""
