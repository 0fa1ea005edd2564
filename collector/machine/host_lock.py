"""One collection at a time on one host: two would disturb each other's times."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from store.errors import DeadheatError


class LockedError(DeadheatError):
    """Another collection is running on this host."""


def lock_path() -> Path:
    """Return the file that all users of this host share; `DEADHEAT_LOCK` names another one."""
    if named := os.environ.get("DEADHEAT_LOCK"):
        return Path(named)
    shared = Path("/run/lock")
    return (shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())) / "deadheat.lock"


@contextlib.contextmanager
def host_lock(path: Path, purpose: str) -> Iterator[None]:
    """Hold the host's lock; raise `LockedError` naming the holder if it is taken. The kernel frees it on a kill."""
    holder = path.with_suffix(".holder")
    lock = FileLock(path, timeout=0, mode=0o666)
    try:
        lock.acquire()
    except Timeout:
        by = holder.read_text(encoding="utf-8").strip() if holder.exists() else "an unknown process"
        raise LockedError(
            f"{path}: is held by {by}; expected no other collection on this host, because two would disturb each "
            "other's times. Wait for it to end, or stop it."
        ) from None
    try:
        with contextlib.suppress(OSError):  # the name of the holder is a courtesy, the lock is what counts
            holder.write_text(f"process {os.getpid()} ({purpose})\n", encoding="utf-8")
        yield
    finally:
        lock.release()
