"""The same numbers from independent implementations: scipy, statsmodels, and R where there is one."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from analysis.statistics.paired import (
    hodges_lehmann,
    holm,
    is_equivalent,
    log_margin,
    log_ratios,
    mean_effect,
    signed_rank_interval,
)
from analysis.statistics.scaling_laws import universal_law
from analysis.statistics.survival import kaplan_meier, share_interval
from analysis.statistics.variance_components import false_positives, nested_variances, seed_effect

GENERATOR = np.random.default_rng(20260101)
BASELINE = np.exp(GENERATOR.normal(0, 0.05, 14))
CANDIDATE = BASELINE * np.exp(GENERATOR.normal(0.06, 0.03, 14))
P_VALUES = [0.001, 0.02, 0.013, 0.04, 0.6, 0.04]
SIX_DIGITS = 1e-6


def in_r(script: str, package: str = "stats") -> list[float]:
    """Return the numbers that R prints, or skip where there is no R, or not this package of it."""
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("no Rscript on this machine; Debian's r-base has it")
    guarded = f"if (!requireNamespace('{package}', quietly=TRUE)) quit(status=9); {script}"
    done = subprocess.run([program, "-e", guarded], capture_output=True, text=True, check=False)
    if done.returncode == 9:
        pytest.skip(f"R has no package {package} here; Debian's r-cran-{package.lower()} has it")
    assert done.returncode == 0, done.stderr
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


def test_r_agrees_on_two_one_sided_tests():
    """TOST at 5 %: the larger p of two one-sided t tests at the ends of the margin, inside and outside it."""
    margin = log_margin(0.03)
    for shift in (0.0, 0.02, 0.026, 0.04):
        other = BASELINE * np.exp(np.random.default_rng(3).normal(shift, 0.01, BASELINE.size))
        differences = log_ratios(BASELINE, other)
        (p,) = in_r(
            f"options(digits=12); x <- {listed(differences)}; cat(max(t.test(x, mu={-margin!r}, alternative='greater')"
            f"$p.value, t.test(x, mu={margin!r}, alternative='less')$p.value))"
        )

        assert is_equivalent(mean_effect(differences), margin) == (p < 0.05)


def test_r_agrees_on_clopper_pearson_and_wilson():
    """binom.test and prop.test without its correction."""
    exact, wilson = false_positives([0.01] * 3 + [0.5] * 17)[2], share_interval(3, 20)
    found = in_r(
        "options(digits=12); w <- suppressWarnings(prop.test(3, 20, correct=FALSE));"
        "cat(binom.test(3, 20)$conf.int, w$conf.int)"
    )

    assert found == pytest.approx([exact.low, exact.high, wilson.low, wilson.high], rel=SIX_DIGITS)


def test_r_agrees_on_the_effect_of_the_seed():
    """The p of aov with campaign and seed as factors, and its mean squares."""
    logs = np.random.default_rng(8).normal(0, 0.05, (3, 6)) + np.linspace(0, 0.1, 6)
    runs = pd.DataFrame(
        [
            {"campaign_id": f"c{c}", "seed": s, "status": "completed", "train_clock_s": float(np.exp(logs[c, s]))}
            for c in range(3)
            for s in range(6)
        ]
    )
    effect = seed_effect(runs, "train_clock_s")
    p, of_seed, of_rest = in_r(
        f"options(digits=12); y <- {listed(logs.ravel())}; c <- gl(3, 6); s <- factor(rep(1:6, 3));"
        "t <- summary(aov(y ~ c + s))[[1]]; cat(t[2, 'Pr(>F)'], t[2, 'Mean Sq'], t[3, 'Mean Sq'])"
    )

    assert effect.p_value == pytest.approx(p, rel=SIX_DIGITS)
    assert effect.variance == pytest.approx((of_seed - of_rest) / 3, rel=SIX_DIGITS)


def test_lme4_agrees_on_the_levels_of_variance():
    """Heats and runs as nested random effects, by REML, for equal numbers."""
    generator = np.random.default_rng(3)
    shape = (12, 4, 5)
    values = sum(generator.normal(0, sd, size) for sd, size in ((2, (12, 1, 1)), (1, (12, 4, 1)), (0.7, shape))).ravel()
    heat, run = np.arange(240) // 20, np.arange(240) // 5
    found = nested_variances(values, [np.zeros(240, dtype=int), heat, run, np.arange(240)]).variances[:, 0]
    theirs = in_r(
        "options(digits=12);"
        f"y <- {listed(values)}; heat <- gl(12, 20); run <- gl(48, 5);"
        "m <- lme4::lmer(y ~ 1 + (1 | heat) + (1 | run), REML=TRUE, control=lme4::lmerControl(optimizer='bobyqa',"
        "optCtrl=list(rhoend=1e-12, maxfun=1e6))); v <- as.data.frame(lme4::VarCorr(m));"
        "cat(v$vcov[v$grp=='heat'], v$vcov[v$grp=='run'], v$vcov[v$grp=='Residual'])",
        package="lme4",
    )

    assert found == pytest.approx(theirs, rel=SIX_DIGITS)


def test_r_agrees_on_the_fit_of_gunthers_law():
    """Nls of the log seconds, which knows no bounds; the truth lies inside them."""
    n = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 5)
    noise = np.random.default_rng(1).normal(0, 0.02, n.size)
    logs = np.log(10 * (1 + 0.1 * (n - 1) + 0.01 * n * (n - 1)) / n) + noise
    law = universal_law(n, np.exp(logs))
    theirs = in_r(
        f"options(digits=12); n <- {listed(n)}; y <- {listed(logs)};"
        "m <- nls(y ~ a + log((1 + s * (n - 1) + k * n * (n - 1)) / n), start=list(a=2.3, s=0.1, k=0.01),"
        "control=nls.control(tol=1e-7)); cat(coef(m))"
    )

    assert [np.log(law.seconds_of_one), law.contention, law.coherency] == pytest.approx(theirs, rel=1e-5)
