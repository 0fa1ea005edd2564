"""How often a cell is repeated before anybody may read a verdict: the only list of these numbers."""

from __future__ import annotations

# Of a public verdict, and of part H of the gate: docs/explanation/statistics.md.
HEATS_FOR_A_VERDICT = 10

# Whose variance, and nothing else of them, fixes the number of heats (Stein 1945).
PILOT_HEATS = 6

# Heats and p of three looks: O'Brien & Fleming's, 5 % in all.
LOOKS = ((10, 0.0005), (20, 0.014), (30, 0.045))
