"""Tests of collector/campaign."""
