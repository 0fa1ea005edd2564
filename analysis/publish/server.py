"""Shows a built site on this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from analysis.results.results import ResultsError

# The site needs nothing from elsewhere and evaluates no text as code; served here it could not.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "worker-src 'self' blob:"
)


class SiteHandler(SimpleHTTPRequestHandler):
    """Serves files quietly, fresh each time, under the site's policy."""

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal shows the address."""


def site_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of `folder` on 127.0.0.1, listening but not yet serving.

    Raises
    ------
    ResultsError
        If the port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(SiteHandler, directory=str(folder)))
    except OSError as reason:
        raise ResultsError(
            f"--port: {port} cannot be used ({reason.strerror}); expected a free port. Take another, or 0 for any."
        ) from None


def serve_site(folder: Path, port: int, tell: Callable[[str], None]) -> None:
    """Serve `folder` on 127.0.0.1 until Ctrl-C."""
    with site_server(folder, port) as server:
        try:
            tell(f"It is shown at http://127.0.0.1:{server.server_port}/ until Ctrl-C.")
            server.serve_forever()
        except KeyboardInterrupt:
            tell("No longer shown.")
