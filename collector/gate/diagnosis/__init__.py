"""What most likely went wrong where a part of the gate fails.

Known mistakes are made on purpose, one after another, with the reference; the one whose results come closest to what
the runner wrote is named. Nothing here decides whether a part passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from collector.gate.diagnosis.diagnosis import Inquiry
from collector.gate.diagnosis.evaluation import (
    cause_of_dropout,
    cause_of_evaluation,
    cause_of_loader,
    evaluation_otherwise,
)
from collector.gate.diagnosis.running_statistics import cause_of_statistics
from collector.gate.diagnosis.training import cause_of_gradient, cause_of_losses_and_logits
from collector.gate.diagnosis.unreadable import cause_of_damage
from collector.gate.diagnosis.updates import cause_of_given_updates, cause_of_steps
from collector.gate.evidence import Evidence

PARTS: dict[str, Callable[[Inquiry], str]] = {
    "A": cause_of_losses_and_logits,
    "B": cause_of_gradient,
    "C": cause_of_given_updates,
    "D": cause_of_steps,
    "E": cause_of_statistics,
    "F": cause_of_evaluation,
    "G": cause_of_dropout,
    "L": cause_of_loader,
}


def likely_causes(evidence: Evidence, parts: Iterable[str]) -> dict[str, str]:
    """Return the likely cause of each failed part of the gate."""
    causes: dict[str, str] = {}
    inquiry = Inquiry(evidence)
    with np.errstate(all="ignore"):
        for part in sorted(PARTS.keys() & set(parts)):
            causes[part] = cause_of_damage(inquiry, part) or _cause(inquiry, part, causes)
    return causes


def _cause(inquiry: Inquiry, part: str, earlier: dict[str, str]) -> str:
    """Return the cause of one part; a mistake in the forward pass shows in what builds on it, and so on."""
    if part in ("B", "D"):
        builds_on = {"B": "A", "D": "ABC"}[part]
        inherited = next((earlier[other] for other in builds_on if other in earlier), "")
        return inherited or PARTS[part](inquiry)
    own = PARTS[part](inquiry)
    return own or (earlier.get("A") or evaluation_otherwise(inquiry) if part == "F" else "")
