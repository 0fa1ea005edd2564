"""The audit of one study as its section of the page shows it (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from analysis.audit.claims import Audited, Judgement, audited
from analysis.audit.evidence import evidence, verdict
from analysis.audit.published_numbers import Strength, Suspicion, listed
from analysis.rendering import queries, tables
from analysis.rendering.charts import TICKS, Spec, finished
from analysis.rendering.render import Chart
from analysis.rendering.tables import Table
from analysis.results.cell_results import CellResults
from store.study import Study

BASES = ("as published", "of the base that the words name", "of the other one")
CHART_ROW = 46


def section(study: Study, suspicions: Sequence[Suspicion], cells: Sequence[CellResults]) -> dict[str, Any]:
    """Return what the template shows of one study: its claims, its suspicious cells and what differs in its programs.

    Parameters
    ----------
    suspicions
        Of every study.
    cells
        Every cell, the newest campaign's first; none in an empty store.
    """
    found = audited(study)
    mine = [one for one in suspicions if one.study == study.study]
    return {
        "study": study,
        "anchor": f"study-{study.study}",
        "facts": facts_table(study),
        "claims": claims_table(study, found, cells),
        "suspicious": suspicions_table(mine),
        "impossible": sum(one.strength is Strength.IMPOSSIBLE for one in mine),
        "doubtful": sum(one.strength is Strength.DOUBTFUL for one in mine),
        "chart": bases_chart(study, found),
        "query": queries.published(study.study),
    }


def claims_table(study: Study, found: Sequence[Audited], cells: Sequence[CellResults]) -> Table:
    """Return the claims of a study: by its own numbers, re-run as published, as equal work, and the verdict."""
    columns = ("claim", "its own numbers", "as published, here", "as equal work, here", "verdict")
    rows = []
    for one in found:
        measured = [evidence(study, here, cells) for here in one.claim.here]
        rows.append(
            (
                f"{one.claim.says} ({one.claim.place})",
                own_words(one),
                _joined([e.as_published for e in measured], one),
                _joined([e.as_equal_work for e in measured], one),
                verdict(study, one, measured),
            )
        )
    return Table(caption=f"Claims of {study.title}", columns=columns, rows=rows, prose=columns)


def own_words(one: Audited) -> str:
    """Return the judgement with its sentence, which need not say it again."""
    told = one.sentence
    for opening in ("Its numbers agree: ", "Its numbers say otherwise: ", "Wrong: ", "Right: "):
        told = told.removeprefix(opening)
    return f"{one.judgement}: {told}"


def suspicions_table(found: Sequence[Suspicion]) -> Table:
    """Return what the rules found, what cannot be first."""
    ordered = sorted(found, key=lambda one: one.strength is not Strength.IMPOSSIBLE)
    return Table(
        caption="Suspicious cells",
        columns=("rule", "how sure", "where", "what"),
        rows=[(one.rule, str(one.strength), one.place, one.text) for one in ordered],
        prose=("where", "what"),
    )


def summary_table(studies: Sequence[Study], suspicions: Sequence[Suspicion]) -> Table:
    """Return how many claims of each study are judged how, and what the rules found in each."""
    counts = {study.study: Counter(one.judgement for one in audited(study)) for study in studies}
    kinds = [kind for kind in Judgement if any(count[kind] for count in counts.values())]
    rows: list[tuple[object, ...]] = []
    for study in studies:
        mine = Counter(one.strength for one in suspicions if one.study == study.study)
        numbers = sum(row.value is not None for row in study.numbers().values())
        name = tables.link(f"#study-{study.study}", study.title)
        judged, found = [counts[study.study][kind] for kind in kinds], [mine[strength] for strength in Strength]
        rows.append((name, study.year, numbers, *judged, *found))
    columns = ("study", "year", "numbers", *map(str, kinds), *map(str, Strength))
    caption = "Studies: their numbers, how their claims are judged, and what in them cannot be or is doubtful"
    return Table(caption=caption, columns=columns, rows=rows, numeric=columns[1:])


def imported_table(published: pd.DataFrame) -> Table:
    """Return the monitors' files that were imported into this store, with what is wrong in each."""
    rows = []
    imported = published[published["conditions"].str.contains('"sha256"', regex=False)]
    for (study, place, system), file in imported.groupby(["study", "place", "system"]):
        doubts = [text for text in dict.fromkeys("; ".join(file["suspicion"]).split("; ")) if text]
        rows.append((study, place, system, len(file), listed(doubts, most=8) or "nothing was found"))
    return Table(
        caption="Imported curves",
        columns=("study", "file", "system", "numbers", "what is wrong in it"),
        rows=rows,
        numeric=("numbers",),
        prose=("what is wrong in it",),
    )


def bases_chart(study: Study, found: Sequence[Audited]) -> Chart | None:
    """Return each published percentage beside what its two numbers give on either base; none without percentages."""
    rows = [row for one in found if (row := _bases(one))]
    if not rows:
        return None
    points = [{"claim": row["claim"], "kind": kind, "percent": round(row[kind], 4)} for row in rows for kind in BASES]
    alternative = "; ".join(
        f"{row['claim']}: {row[BASES[0]]:g} % published, "
        f"{row[BASES[1]]:.2f} % and {row[BASES[2]]:.2f} % on the two bases"
        for row in rows
    )
    return Chart(
        name=f"bases-{study.study}",
        spec=_bases_spec(points, [row["claim"] for row in rows]) | {"description": alternative},
        alt=alternative,
        caption=(
            "Every percentage that the study derives, and what its own two numbers give: "
            "the same difference is another percentage of the other system."
        ),
        query=queries.published(study.study),
    )


def _bases(one: Audited) -> Mapping[str, Any] | None:
    way = one.ways[0] if one.ways else None
    if one.claim.value is None or way is None or way.exact is None or way.other_base is None:
        return None
    label = f"{one.claim.value:g} {one.claim.unit}, {one.claim.workload}, {one.claim.place}"
    return {"claim": label, **dict(zip(BASES, (one.claim.value, way.exact, way.other_base), strict=True))}


def _bases_spec(points: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Spec:
    shapes = alt.Scale(domain=list(BASES), range=["square", "circle", "diamond"])
    sizes = alt.Scale(domain=list(BASES), range=[420, 90, 130])  # what was published is behind what comes out
    chart = (
        alt.Chart(pd.DataFrame(points))
        .mark_point(filled=True, opacity=1)
        .encode(
            alt.X("percent:Q", title="percent", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=TICKS)),
            alt.Y("claim:N", sort=list(order), title=None),
            alt.Color("kind:N", sort=list(BASES), scale=alt.Scale(domain=list(BASES))),
            alt.Shape("kind:N", sort=list(BASES), scale=shapes),
            alt.Size("kind:N", sort=list(BASES), scale=sizes),
            [alt.Tooltip("claim:N"), alt.Tooltip("kind:N", title="number"), alt.Tooltip("percent:Q")],
        )
    )
    return finished(chart, height=CHART_ROW * len(order))


def _joined(texts: Sequence[str], one: Audited) -> str:
    if not texts:
        return tables.NOTHING if one.claim.how in ("fact", "product") else "nothing here measures it"
    return " ".join(dict.fromkeys(texts))


def facts_table(study: Study) -> Table:
    """Return where a study stands and under which conditions it measured."""
    runs = tables.count(study.runs, "run") if study.runs else "not stated"
    conditions = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in study.conditions.items())
    facts = [("source", study.source), ("year", study.year), ("runs behind each number", runs)]
    return Table(
        caption="What it is",
        columns=("what", "value"),
        rows=[*facts, *([("conditions", conditions)] if conditions else [])],
        prose=("value",),
    )
