"""Templates and values become the text of a page (pure): what a value holds never becomes markup by itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from analysis.frames.columns import is_absent
from analysis.rendering import tables
from analysis.rendering.charts import Spec

TEMPLATES = Path(__file__).parent.parent / "templates"
CHARTS = "assets/charts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with the words beside it: `alt` says what it shows, for whoever cannot see it."""

    name: str  # of its files, unique on the site
    spec: Spec
    alt: str
    caption: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of Markdown, its place below `docs/`, and the charts on it."""

    path: str
    text: str
    charts: tuple[Chart, ...] = ()


def page(path: str, template: str, context: Mapping[str, Any], charts: tuple[Chart, ...] = ()) -> Page:
    """Return the page that `template` makes of `context`.

    Strings in the context are plain text and come out as such; only `Markup` is markup. A name that the context
    does not have is an error, never an empty place.
    """
    root = "../" * path.count("/")
    text = _environment().get_template(template).render(**context, root=root, charts={c.name: c for c in charts})
    return Page(path=path, text=text, charts=charts)


def figure(chart: Chart, root: str) -> Markup:
    """Return a chart as still pictures, one per colour scheme, that a script replaces by a living one."""
    stills = Markup("\n").join(
        Markup('<img src="{root}{folder}/{name}.{scheme}.svg#only-{scheme}" alt="{alt}" loading="lazy">').format(
            root=root, folder=CHARTS, name=chart.name, scheme=scheme, alt=chart.alt
        )
        for scheme in ("light", "dark")
    )
    return Markup(
        '<figure class="vl" data-spec="{root}{folder}/{name}.json">\n<div class="vl-still">\n{stills}\n</div>\n'
        "<figcaption>{caption}</figcaption>\n</figure>\n{query}"
    ).format(root=root, folder=CHARTS, name=chart.name, stills=stills, caption=chart.caption, query=query(chart.query))


def query(sql: str) -> Markup:
    """Return the SQL behind a figure, folded away."""
    return Markup(
        '<details class="dh-query">\n<summary>The query behind these numbers</summary>\n'
        '<pre><code class="language-sql">{}</code></pre>\n</details>'
    ).format(sql)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = lambda value: Markup(json.dumps(value))  # JSON is YAML
    environment.globals.update(
        plain=escape, figure=figure, query=query, table=tables.html, code=tables.code, pill=tables.pill
    )
    return environment


def _finalized(value: object) -> Markup:
    """Return what an expression of a template puts on the page."""
    if isinstance(value, Markup):
        return value
    return tables.inert(tables.NOTHING if is_absent(value) else str(value))
