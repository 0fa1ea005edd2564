"""The page of studies: every claim with its verdict, on an empty store too, and what was imported."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path

from analysis.audit.claims import Judgement, audited
from analysis.audit.published_numbers import Strength, Suspicion
from analysis.audit.table_rules import suspicions
from analysis.pages.all_pages import result_pages
from analysis.pages.studies.page import recipe_names, studies_page
from analysis.pages.studies.section import (
    BASES,
    bases_chart,
    imported_table,
    own_words,
    summary_table,
    suspicions_table,
)
from analysis.rendering.render import Page
from analysis.results.cell_results import cell_results
from analysis.results.reader import read_results
from collector.plan.workload import known_workloads
from store.database import Store
from store.study import read_studies
from tests.analysis.audit.test_evidence import FLUX
from tests.analysis.builders import PYTORCH, Campaign
from tests.analysis.claims_tables import cell, table
from tests.analysis.pages.test_listings import OWLS, shown
from tests.analysis.sites import HOSTILE, queries_on, results_of, visible_text


@cache
def empty() -> Page:
    """Return the page of a store without records."""
    return studies_page(results_of([]), [])


def test_an_empty_store_has_the_whole_audit() -> None:
    """Every claim of every study, and that nothing was measured here yet."""
    page = shown(empty())

    for study in read_studies():
        assert study.title in page
        for claim in study.claim:
            assert " ".join(claim.says.split()) in page
    assert page.count("Not measured here yet.") == len(read_studies())
    assert "as equal work it is not measured here yet" in page
    assert "(20.4 − 15.2) / 15.2 = 34.21 %, Python being 100 %" in page


def test_a_store_on_disk_gives_the_same_page(tmp_path: Path) -> None:
    """As `deadheat site` reads it; suspicions are those of the rules, whatever the store says."""
    results = read_results(Store(tmp_path))

    assert set(results.published["study"]) == {study.study for study in read_studies()}
    assert [page.path for page in result_pages(results)].count("studies.md") == 1
    assert shown(studies_page(results, [])) == shown(empty())


def test_every_query_of_the_page_runs_on_an_empty_store(tmp_path: Path) -> None:
    """And finds the study's numbers."""
    store = Store(tmp_path)
    asked = [sql for sql in queries_on(empty().text) if "FROM published" in sql]

    assert len(asked) == len(read_studies()) + 2  # all together, and the chart's
    assert all(len(store.query(sql)) for sql in asked)


def test_the_summary_counts_every_claim_and_every_cell() -> None:
    """Over all studies."""
    found = suspicions(results_of([]).published)
    made = summary_table(read_studies(), found)
    kinds = [name for name in made.columns if name in set(map(str, Judgement))]
    counted = [[int(str(count)) for count in row[3:]] for row in made.rows]

    assert sum(sum(row[: len(kinds)]) for row in counted) == sum(len(study.claim) for study in read_studies())
    assert sum(sum(row[len(kinds) :]) for row in counted) == len(found)


def test_a_judgement_is_said_once() -> None:
    """Neither "agrees: Its numbers agree" nor "wrong: Its numbers say otherwise"."""
    told = [own_words(one) for study in read_studies() for one in audited(study)]

    assert any(text.startswith("agrees: Julia 16 s < Python 20 s") for text in told)
    assert not any("Its numbers" in text for text in told)


def test_what_cannot_be_comes_first() -> None:
    """Then what is doubtful, each in the order of the rules."""

    def of(rule: str, strength: Strength) -> Suspicion:
        return Suspicion(rule=rule, strength=strength, study="s", place="p", text="t")

    rows = suspicions_table([of("a", Strength.DOUBTFUL), of("b", Strength.IMPOSSIBLE)]).rows

    assert [row[0] for row in rows] == ["b", "a"]


def test_the_chart_shows_each_percentage_on_both_bases() -> None:
    """Of the paper, the only study that derives percentages."""
    charts = {study.study: bases_chart(study, audited(study)) for study in read_studies()}
    paper = charts.pop("paper")

    assert set(charts.values()) == {None}
    assert paper is not None
    (points,) = paper.spec["datasets"].values()
    longer = {point["kind"]: point["percent"] for point in points if point["claim"].startswith("34.21 %")}
    assert longer == {BASES[0]: 34.21, BASES[1]: 34.2105, BASES[2]: 25.4902}
    assert "34.21 % published, 34.21 % and 25.49 % on the two bases" in paper.alt
    assert [chart.name for chart in empty().charts] == ["bases-paper"]


def test_imported_curves_stand_with_what_is_wrong_in_them() -> None:
    """One row per file; what a file holds never becomes markup."""
    imported = [
        cell("cpu", 4.0, "%", sha256="abc", elapsed_s=n / 10) | {"place": HOSTILE, "suspicion": "it creeps; it lies"}
        for n in range(3)
    ]
    published = table(*imported, cell())

    (row,) = imported_table(published).rows
    assert row[3:] == (3, "it creeps, it lies")
    page = studies_page(dataclasses.replace(results_of([]), published=published), [])
    assert "<script>alert" not in page.text
    assert "Curves that were imported" in shown(page)


def test_every_recipe_of_ours_belongs_to_a_study() -> None:
    """And each is a workload that exists."""
    named = {recipe for study in read_studies() for recipe in recipe_names(study)}

    assert named == {name for name in known_workloads() if name.startswith("published_")}
    assert {ours for study in read_studies() for ours in study.equal_work.values()} <= set(known_workloads())


def test_anchors_are_unique_and_links_lead_to_them() -> None:
    """The summary's links stay on the page."""
    anchors = re.findall(r"\{: #([\w-]+) \}", empty().text)

    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([\w-]+)"', empty().text)) <= set(anchors)
    assert visible_text(empty().text)
    assert cell_results(results_of([])) == []


def test_what_was_measured_elsewhere_is_no_evidence_here() -> None:
    """Recipes and equal work of a snapshot leave the page as it was; the same of the own store do not."""
    changes = {"workload": "mnist_lenet"}
    results = results_of(Campaign(racers=(PYTORCH, FLUX), changes=changes).rows())
    brought = dataclasses.replace(results, snapshots=[OWLS])

    assert shown(studies_page(brought, cell_results(brought))) == shown(empty())
    assert "equal work here contradicts it" in shown(studies_page(results, cell_results(results)))
