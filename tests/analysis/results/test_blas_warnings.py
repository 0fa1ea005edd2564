"""Warnings of an OpenBLAS that does not know its processor: in the report and on the page of environments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.commands import app
from analysis.pages.listings import environments_page
from analysis.results.blas_warnings import blas_warnings
from store.records import EnvironmentRow, Row
from tests.analysis.builders import JAX, PYTORCH, Campaign, environment_row
from tests.analysis.pages.test_listings import shown
from tests.analysis.sites import results_of, write_store


def environment(blas: str, **changes: object) -> EnvironmentRow:
    """Return an environment in which Julia computes with `blas`."""
    versions = json.dumps({"julia_stdlib": {"blas": blas}, "python_jax": {"unavailable": "not here"}})
    return environment_row(**{"cpu_model": "AMD EPYC 9V74", "versions": versions, **changes})


def rows_with(blas: str) -> list[Row]:
    """Return a campaign measured there."""
    rows = Campaign(racers=(PYTORCH, JAX), heats=2).rows()
    return [environment(blas) if isinstance(row, EnvironmentRow) else row for row in rows]


@pytest.mark.parametrize(
    ("blas", "cpu_model", "warned"),
    [
        ("OpenBLAS 0.3.9 Barcelona", "AMD EPYC", True),
        ("OpenBLAS 0.3.9 Prescott", "Intel Xeon", True),
        ("OpenBLAS 0.3.29 Generic", "AMD EPYC", True),
        ("OpenBLAS 0.3.29 generic", "Neoverse-N1", False),
        ("OpenBLAS 0.3.9 SkylakeX", "AMD EPYC", False),
        ("OpenBLAS 0.3.9 Zen", "AMD EPYC", False),
        ("scipy-openblas 0.3.31.22.0", "AMD EPYC", False),
        ("unknown", "AMD EPYC", False),
        ("", "AMD EPYC", False),
    ],
)
def test_kernels_from_before_avx_are_warned_of(blas: str, cpu_model: str, warned: bool) -> None:
    """By the name that OpenBLAS gives them; who does not name any says nothing."""
    row = {"cpu_model": cpu_model, "versions": json.dumps({"julia_stdlib": {"blas": blas}})}

    assert bool(blas_warnings(row)) is warned


@pytest.mark.parametrize("versions", ["", "{", "[]", '{"julia_stdlib": "1.5"}'])
def test_versions_of_another_form_are_no_error(versions: str) -> None:
    """An old store may hold them."""
    assert blas_warnings({"cpu_model": "AMD EPYC", "versions": versions}) == []


def test_the_report_ends_with_the_warning(tmp_path: Path) -> None:
    """In the terminal and in a pull request, of the machine that was measured on; never among exact values."""
    store = write_store(tmp_path, [*rows_with("OpenBLAS 0.3.9 Barcelona"), environment("", environment_id="other")])

    def told(*options: str) -> str:
        done = CliRunner().invoke(app, ["report", "--store", str(store.path), *options], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    words = "julia_stdlib: OpenBLAS 0.3.9 computes with its kernels for Barcelona, which know no AVX, on AMD EPYC 9V74"
    assert f"Warning: {words}" in told()
    assert told("--markdown").splitlines()[-1].startswith("> **Warning:** julia")
    assert "Barcelona" not in told("--format", "csv")


def test_the_page_of_environments_has_it_too() -> None:
    """Beside the processor; where nothing is wrong there is no such row."""
    assert "warning julia_stdlib: OpenBLAS 0.3.9" in shown(
        environments_page(results_of(rows_with("OpenBLAS 0.3.9 Prescott")))
    )
    assert "warning" not in shown(environments_page(results_of(rows_with("OpenBLAS 0.3.9 Haswell"))))
