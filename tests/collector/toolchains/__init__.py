"""Tests of collector/toolchains."""
