"""Data sets as they were first published: where each comes from, its checksums, and its reader."""
