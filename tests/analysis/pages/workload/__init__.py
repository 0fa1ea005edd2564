"""Tests of analysis/pages/workload."""
