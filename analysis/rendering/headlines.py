"""The framework that stands for each language: named before the campaign, never picked for its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.findings.finding import Finding, entry_name
from analysis.rendering.wording import seconds, sentence

LANGUAGES = ("Julia", "Elixir", "Python")  # each has a row, measured or not
KERNELS = ("C++",)  # the same kernels without the language in front: a lower bound, never a competitor
NOT_YET_MEASURED = "not yet measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageHeadline:
    """One language on one clock of one cell."""

    language: str
    entry: str  # empty: not yet measured
    framework: str
    value: float | None  # seconds
    finding: Finding | None  # none: the baseline itself, or not yet measured
    sentence: str
    others: tuple[str, ...] = ()  # further framework headline entries that were measured


def language_headlines(findings: Sequence[Finding], languages: Sequence[str] = LANGUAGES) -> list[LanguageHeadline]:
    """Return one row per language, measured or not.

    The baseline stands for its language where it is a framework's headline variant; else the first framework
    headline entry by name. Runners of class `baseline` or `test`, and other variants, never do: the fastest of
    several would be a winner's curse.

    Parameters
    ----------
    findings
        Of one cell on one clock.
    languages
        Those that have a row in any case; others that were measured follow, but for kernels alone.
    """
    measured = {f.candidate_language for f in findings if _leads(f)} | {
        f.baseline_language for f in findings if _led(f)
    }
    others = sorted(measured - {*languages, *KERNELS})
    return [_headline(language, findings) for language in (*languages, *others)]


def _headline(language: str, findings: Sequence[Finding]) -> LanguageHeadline:
    ours = sorted((f for f in findings if _leads(f) and f.candidate_language == language), key=lambda f: f.candidate)
    others = tuple(f.candidate for f in ours)
    baselines = [f for f in findings if _led(f) and f.baseline_language == language]
    if baselines:
        return _of_baseline(language, max(baselines, key=lambda f: f.heats), others)
    if not ours:
        return LanguageHeadline(
            language=language, entry="", framework="", value=None, finding=None, sentence=f"{NOT_YET_MEASURED}."
        )
    return LanguageHeadline(
        language=language,
        entry=ours[0].candidate,
        framework=ours[0].candidate_framework,
        value=ours[0].candidate_value,
        finding=ours[0],
        sentence=sentence(ours[0]),
        others=others[1:],
    )


def _of_baseline(language: str, finding: Finding, others: tuple[str, ...]) -> LanguageHeadline:
    name = entry_name(finding.baseline, is_headline=True)
    took = "" if finding.baseline_value is None else f" and took {seconds(finding.baseline_value)}"
    return LanguageHeadline(
        language=language,
        entry=finding.baseline,
        framework=finding.baseline_framework,
        value=finding.baseline_value,
        finding=None,
        sentence=f"{name} is the baseline{took} on the {finding.clock} clock.",
        others=others,
    )


def _leads(finding: Finding) -> bool:
    """Whether the candidate may stand for its language and was measured."""
    may = finding.candidate_class == "framework" and finding.candidate_headline
    return may and finding.candidate_value is not None


def _led(finding: Finding) -> bool:
    """Whether the baseline may stand for its language and was measured."""
    may = finding.baseline_class == "framework" and finding.baseline_headline
    return may and finding.baseline_value is not None
