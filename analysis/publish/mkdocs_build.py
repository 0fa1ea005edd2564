"""Runs the site generator over written pages."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from analysis.pages.all_pages import navigation
from analysis.results.results import ResultsError


def build_site(config: Path, docs: Path, output: Path, *, strict: bool, site_url: str) -> None:
    """Build the pages in `docs` into `output` with the settings of `config`.

    Raises
    ------
    ResultsError
        If the generator refuses; with `strict` also for what it warns of.
    """
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    heard = _Heard()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(heard)
    try:
        settings = load_config(
            str(config),
            docs_dir=str(docs.resolve()),
            site_dir=str(output.resolve()),
            strict=strict,
            **({"site_url": site_url} if site_url else {}),
        )
        settings["nav"] = navigation(settings["nav"], _pages(docs))
        build(settings)
    except MkDocsException as reason:
        said = "; ".join(heard.messages) or str(reason)
        raise ResultsError(f"{config}: the site was not built ({said}). Correct the page that it names.") from None
    finally:
        logger.removeHandler(heard)


class _Heard(logging.Handler):
    """Keeps warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append(record.getMessage())


def _pages(docs: Path) -> list[str]:
    return sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
