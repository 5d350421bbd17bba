"""Who did what by the service's API: a hash-chained file, beside the calls that it is about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from voki_bots.archive.journal import Journal
from voki_bots.archive.layout import make_directory

AUDIT = ".access.jsonl"
"""The file, in the archive's folder."""


class Audit:
    """Appends what people do. Made at the first act, so that a service that nobody asks makes no file.

    Args:
        directory: Where the file is.
        clock: Seconds.
        wall: The time in UTC.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self.path = directory / AUDIT
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._journal: Journal | None = None

    def __call__(self, by: str, act: str, tenant: str, call: str, **facts: object) -> None:
        """Append an act.

        Raises:
            FileWriteError: If the disk does not take it, or another service has the file open.
        """
        with self._lock:
            if self._journal is None:
                make_directory(self.path.parent)
                self._journal = Journal(self.path, clock=self._clock, wall=self._wall)
            self._journal.append(act, by=by, tenant=tenant, call=call, **facts)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None
