"""How long the site takes to build with many run pages, beside the site generator alone on as many bare pages.

    python benchmarks/site.py [RUNS ...]

Both write into fresh folders; "again" has its drawings kept from the first build. CPU seconds are those of this
process, which does all the work: on a machine that others use they say more than the clock on the wall.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from analysis.publish.mkdocs_build import build_site  # noqa: E402
from analysis.publish.publish import publish_site  # noqa: E402
from tests.analysis.builders import JAX, JULIA, NUMPY, PYTORCH, Campaign  # noqa: E402
from tests.analysis.sites import write_store  # noqa: E402

RUNS_PER_HEAT = 5  # four entries and the control


def main(sizes: list[int]) -> None:
    """Print one line per number of run pages."""
    print(f"{'run pages':>9} {'bare':>15} {'first':>15} {'again':>15}   again / bare   per run page")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            bare, first, again = measure(Path(folder), size)
        ratio, each = again[1] / bare[1], 1000 * (again[1] - bare[1]) / size
        print(f"{size:9} {shown(bare)} {shown(first)} {shown(again)} {ratio:14.1f} {each:11.1f} ms")


def measure(folder: Path, size: int) -> tuple[tuple[float, float], ...]:
    """Return wall and CPU seconds of bare pages, of a first build, and of a second."""
    store = write_store(
        folder / "store", Campaign(racers=(PYTORCH, JAX, NUMPY, JULIA), heats=size // RUNS_PER_HEAT).rows()
    )
    work = folder / "work"

    def build() -> None:
        publish_site(store, work / "site", work=work)

    write_bare_pages(folder / "docs", size)
    bare = taken(
        lambda: build_site(PROJECT / "mkdocs.yml", folder / "docs", folder / "bare", strict=False, site_url="")
    )
    return bare, taken(build), taken(build)


def write_bare_pages(docs: Path, size: int) -> None:
    """Write as many pages as there are runs, each a heading and a line."""
    (docs / "runs").mkdir(parents=True)
    for asset in ("images/logo.svg", "images/favicon.svg"):
        (docs / "assets" / asset).parent.mkdir(parents=True, exist_ok=True)
        (docs / "assets" / asset).write_bytes((PROJECT / "analysis" / "assets" / asset).read_bytes())
    (docs / "index.md").write_text("# Results\n\nNone.\n")
    for number in range(size):
        (docs / "runs" / f"run-{number}.md").write_text(f"# Run {number}\n\nIt completed.\n")


def taken(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of `work`."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def shown(seconds: tuple[float, float]) -> str:
    """Return wall and CPU seconds."""
    return f"{seconds[0]:6.1f} s/{seconds[1]:5.1f} s"


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [50, 1000])
