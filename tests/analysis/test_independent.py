"""The same numbers from independent implementations: scipy, statsmodels, and R where there is one."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from analysis.statistics import (
    hodges_lehmann,
    holm,
    is_equivalent,
    log_margin,
    log_ratios,
    mean_effect,
    signed_rank_interval,
)
from analysis.survival import kaplan_meier

GENERATOR = np.random.default_rng(20260101)
BASELINE = np.exp(GENERATOR.normal(0, 0.05, 14))
CANDIDATE = BASELINE * np.exp(GENERATOR.normal(0.06, 0.03, 14))
P_VALUES = [0.001, 0.02, 0.013, 0.04, 0.6, 0.04]
SIX_DIGITS = 1e-6


def in_r(script: str) -> list[float]:
    """Return the numbers that R prints, or skip where there is no R."""
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("no Rscript on this machine; Debian's r-base has it")
    done = subprocess.run([program, "-e", script], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def listed(values) -> str:
    """Return numbers as an R vector, to the last digit."""
    return f"c({', '.join(repr(float(value)) for value in values)})"


def test_the_interval_is_that_of_scipy():
    """Estimate, interval and p of a paired t test on the logs."""
    theirs = stats.ttest_rel(np.log(CANDIDATE), np.log(BASELINE))
    effect = mean_effect(log_ratios(BASELINE, CANDIDATE))
    interval, expected = effect.interval(), theirs.confidence_interval(0.95)

    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=SIX_DIGITS)
    assert effect.p_value == pytest.approx(theirs.pvalue, rel=SIX_DIGITS)


def test_holm_is_that_of_statsmodels():
    """Adjusted p values, ties included."""
    assert holm(P_VALUES) == pytest.approx(list(multipletests(P_VALUES, method="holm")[1]), rel=SIX_DIGITS)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.026, 0.04])
def test_a_dead_heat_is_statsmodels_two_one_sided_tests(shift):
    """TOST of the logs at 5 %."""
    other = BASELINE * np.exp(np.random.default_rng(3).normal(shift, 0.01, BASELINE.size))
    margin = log_margin(0.03)
    p = ttost_paired(np.log(other), np.log(BASELINE), -margin, margin)[0]

    assert is_equivalent(mean_effect(log_ratios(BASELINE, other)), margin) == (p < 0.05)


def test_kaplan_meiers_median_is_that_of_statsmodels():
    """Forty sets with ties and with runs that never met the target."""
    generator = np.random.default_rng(7)
    for _ in range(40):
        times = generator.integers(1, 9, 15) / 4
        met = generator.random(15) < 0.7
        theirs = SurvfuncRight(times, met.astype(int)).quantile(0.5)
        ours = kaplan_meier(list(times[met]), list(times[~met])).median()

        # At a survival of exactly one half statsmodels takes the next time; both are medians.
        survival = stats.ecdf(stats.CensoredData(uncensored=times[met], right=times[~met])).sf
        if not np.isclose(survival.probabilities, 0.5).any():
            assert ours == (pytest.approx(theirs, rel=SIX_DIGITS) if np.isfinite(theirs) else None)


def test_r_agrees_on_the_interval_the_ranks_and_holm():
    """t.test, wilcox.test with conf.int, and p.adjust."""
    differences = log_ratios(BASELINE, CANDIDATE)
    x = listed(differences)
    found = in_r(
        f"options(digits=12); x <- {x}; t <- t.test(x); w <- wilcox.test(x, conf.int=TRUE, exact=TRUE);"
        f"cat(t$conf.int, t$p.value, w$conf.int, w$estimate, p.adjust({listed(P_VALUES)}, 'holm'))"
    )
    interval, ranks = mean_effect(differences).interval(), signed_rank_interval(differences)
    ours = [interval.low, interval.high, mean_effect(differences).p_value, ranks.low, ranks.high]

    assert found == pytest.approx([*ours, hodges_lehmann(differences), *holm(P_VALUES)], rel=SIX_DIGITS)
