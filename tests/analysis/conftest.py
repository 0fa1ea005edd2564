"""What the tests of the analysis share."""

from __future__ import annotations

from hypothesis import settings

# The machine that tests may be busy: a slow example is no failure.
settings.register_profile("deadheat", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("deadheat")
