"""Commands that read the findings: in the terminal, and as a site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from store.commands import DEFAULT_STORE, FormatOption, StorePath
from store.database import Rows, Store
from store.output import Format, write_rows

if TYPE_CHECKING:
    from analysis.finding import Finding

app = typer.Typer(no_args_is_help=True, help="Read the findings.")


@app.command()
def site(
    store: StorePath = DEFAULT_STORE,
    output: Annotated[Path, typer.Option(help="Where the site is written.")] = Path("build/site"),
    serve: Annotated[bool, typer.Option("--serve", help="Show it on this machine until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8000,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on any warning, such as a dead link.")] = False,
    site_url: Annotated[str, typer.Option(envvar="DEADHEAT_SITE_URL", help="The address it will have.")] = "",
) -> None:
    """Build the site from the store.

    Example: deadheat site --serve
    """
    from analysis.publish import publish_site
    from analysis.server import serve_site

    built = publish_site(Store(store), output, strict=strict, site_url=site_url)
    typer.echo(f"The site: {built.resolve()}")
    if serve:
        serve_site(built.parent, port, typer.echo)


@app.command()
def report(
    form: FormatOption = Format.TABLE,
    workload: Annotated[str | None, typer.Option(help="Only this workload.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All campaigns, not only the latest.")] = False,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Show the findings of the latest campaign.

    Example: deadheat report --format csv
    """
    from analysis.reader import read_measured
    from analysis.report import latest_findings

    _write(latest_findings(read_measured(_open(store)), workload=workload, everything=everything), form)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="An entry (runner:variant), or a runner.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The entry that is compared with A.")],
    workload: Annotated[str | None, typer.Option(help="Only this workload.")] = None,
    form: FormatOption = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Compare two entries in the heats where both completed.

    Example: deadheat compare python_pytorch python_jax --workload mnist_mlp
    """
    from analysis.reader import read_measured
    from analysis.report import compared

    _write(compared(read_measured(_open(store)), first, second, workload=workload), form)


def _write(findings: Sequence[Finding], form: Format) -> None:
    """Write findings: for people a table and the sentences, for programs every field."""
    from analysis import report as made

    if form is not Format.TABLE:
        columns, values = made.exact_rows(findings)
        write_rows(Rows(columns, values), form)
        return
    for title, group in made.by_cell(findings):
        columns, values = made.table_rows(group)
        write_rows(Rows(columns, values), form, title)
        for finding in group:
            typer.echo(f"  {finding.sentence}")
        typer.echo()
    if not findings:
        typer.echo("There are no findings: no heat is complete.")


def _open(path: Path) -> Store:
    """Return the store, and say so where it is empty."""
    store = Store(path)
    if store.is_empty():
        typer.echo(f"The store {path} holds no records yet: 'deadheat run' fills it.", err=True)
    return store
