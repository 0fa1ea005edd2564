"""Commands that read the findings: in the terminal, and as a site."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from store.commands import DEFAULT_STORE, FormatOption, StorePath, open_store
from store.database import Rows, Store
from store.output import ESCAPE, Format, write_rows

if TYPE_CHECKING:
    from analysis.findings.finding import Finding

WorkloadOption = Annotated[str | None, typer.Option(help="Only this workload.")]

app = typer.Typer(no_args_is_help=True, help="Read the findings.")


@app.command()
def site(
    store: StorePath = DEFAULT_STORE,
    output: Annotated[Path, typer.Option(help="Where the site is written.")] = Path("build/site"),
    serve: Annotated[bool, typer.Option("--serve", help="Show it on this machine until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8000,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on any warning, such as a dead link.")] = False,
    site_url: Annotated[str, typer.Option(envvar="DEADHEAT_SITE_URL", help="The address it will have.")] = "",
    snapshots: Annotated[
        bool, typer.Option(help="Show the snapshots that deadheat brings too, as measured elsewhere.")
    ] = True,
) -> None:
    """Build the site from the store.

    Example: deadheat site --serve
    """
    from analysis.publish.publish import publish_site
    from analysis.publish.server import serve_site
    from analysis.results.reader import snapshots_beside
    from store.snapshot import SNAPSHOTS

    beside = snapshots_beside(Store(store)) if snapshots else []
    opened = Store(store, beside=[SNAPSHOTS / one.name for one in beside])
    built = publish_site(opened, output, strict=strict, site_url=site_url, snapshots=beside)
    typer.echo(f"The site: {built.resolve()}")
    if serve:
        serve_site(built.parent, port, typer.echo)


@app.command()
def report(
    form: FormatOption = Format.TABLE,
    workload: WorkloadOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All campaigns, not only the latest.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="GitHub's Markdown, for a pull request.")] = False,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Show the findings of the latest campaign.

    Example: deadheat report --markdown > comment.md
    """
    from analysis.results.reader import read_machines, read_measured, read_warnings
    from analysis.results.results import ResultsError
    from analysis.terminal.markdown import markdown_report
    from analysis.terminal.report import latest_findings, why_none

    if markdown and form is not Format.TABLE:
        raise ResultsError(f"--markdown: got --format {form} too; expected one of the two. Leave one out.")
    opened = open_store(store)
    measured = read_measured(opened)
    found = latest_findings(measured, workload=workload, everything=everything)
    warnings = read_warnings(opened, {finding.cell.environment_id for finding in found})
    if markdown:
        typer.echo(markdown_report(found, measured, read_machines(opened), warnings), nl=False)
        return
    _write(found, form, why_none(measured))
    for words in warnings if form is Format.TABLE else ():
        typer.echo(f"Warning: {words}".translate(ESCAPE))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="An entry (runner:variant), or a runner.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The entry that is compared with A.")],
    workload: WorkloadOption = None,
    metric: Annotated[
        str | None,
        typer.Option(help="A clock, train or e2e (default: both), or one of 'deadheat schema metrics'."),
    ] = None,
    form: FormatOption = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Compare two entries in the heats where both completed: the verdict, the numbers, and why.

    Exit code 1: there is no number to compare, and a sentence says why.

    Example: deadheat compare python_pytorch julia_stdlib --workload mnist_mlp
    """
    from analysis.frames.views import read_measurements
    from analysis.results.reader import read_measured, read_rates
    from analysis.terminal.compare import versus
    from analysis.terminal.report import NOTHING_MEASURED

    opened = open_store(store)
    if opened.is_empty():
        _write([], form, NOTHING_MEASURED)
        raise typer.Exit(1)
    found = versus(
        read_measured(opened),
        read_measurements(opened),
        read_rates(opened),
        (first, second),
        workload=workload,
        metric=metric,
    )
    if found.apart:
        typer.echo(f"{found.apart}.", err=form is not Format.TABLE)
    if form is not Format.TABLE:
        _write(found.findings, form, "")
    else:
        typer.echo("\n".join(found.texts).translate(ESCAPE), nl=False)
    if not found.has_number:
        raise typer.Exit(1)


@app.command()
def trends(
    workload: WorkloadOption = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="train, e2e, or of 'deadheat schema metrics'; may be repeated.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="New is what was raised since this day (UTC).")
    ] = None,
    fail: Annotated[bool, typer.Option("--fail-on-regression", help="Exit code 1 where a regression is new.")] = False,
    versions: Annotated[Path | None, typer.Option(help="TOML: the current version of each framework.")] = None,
    form: FormatOption = Format.TABLE,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Show what changed over campaigns, which versions changed with it, and how old the numbers are.

    New is what the newest campaign of its machine raised: an alarm is new once.

    Example: deadheat trends --fail-on-regression
    """
    from analysis.findings.trends import Kind, stalenesses
    from analysis.rendering.trend_words import shifts_in
    from analysis.results.reader import read_current_versions, read_trends
    from analysis.terminal.trends_text import shift_rows, trends_text

    opened = open_store(store)
    current = read_current_versions(opened, versions)
    runs, environments, found = read_trends(opened, metric or [], workload)
    day = None if since is None else since.replace(tzinfo=UTC)
    if form is Format.TABLE:
        text = trends_text(found, stalenesses(runs, environments, datetime.now(UTC), current), day)
        typer.echo(text.translate(ESCAPE), nl=False)
    else:
        write_rows(Rows(*shift_rows(found, day)), form)
    if fail and any(is_new for _, _, is_new in shifts_in(found, day, [Kind.REGRESSION])):
        typer.echo("A regression is new.", err=True)
        raise typer.Exit(1)


def _write(findings: Sequence[Finding], form: Format, why_none: str) -> None:
    """Write findings: for people a table and the sentences, for programs every field."""
    from analysis.rendering.wording import sentence, told_rows
    from analysis.terminal import report as made

    if form is not Format.TABLE:
        columns, values = told_rows(findings)
        write_rows(Rows(columns, values), form)
        return
    for title, group in made.by_cell(findings):
        columns, values = made.table_rows(group)
        write_rows(Rows(columns, values), form, title)
        for finding in group:
            typer.echo(f"  {sentence(finding)}")
        typer.echo()
    if not findings:
        typer.echo(why_none)
