"""How full the disks are that calls are kept on: an alert at one mark, and no new calls from another on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from voki_bots.archive.layout import split_template
from voki_bots.service.telemetry import Telemetry

_log = structlog.get_logger(__name__)

LOOK = 5.0
"""Seconds between two looks at the disks."""


def used_share(path: Path) -> float:
    """Say how full the disk is on which a path lies, or will lie, from 0.0 to 1.0.

    Raises:
        OSError: If nobody can tell.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    found = shutil.disk_usage(path)
    # As `df` has it: what is kept for root is not there for us.
    return found.used / max(1, found.used + found.free)


class Space:
    """The disks of some archives.

    Args:
        archives: Where calls are kept, as templates.
        alert: From which share on somebody should make room.
        refuse: From which share on no call is begun; those that run go on.
        telemetry: Where the share is shown.
        used: Says how full the disk of a path is.
    """

    def __init__(
        self,
        archives: Iterable[Path],
        *,
        alert: float,
        refuse: float,
        telemetry: Telemetry,
        used: Callable[[Path], float] = used_share,
    ) -> None:
        self._roots = {archive: split_template(archive)[0] for archive in archives}
        self._alert = alert
        self._refuse = refuse
        self._telemetry = telemetry
        self._used = used
        self._shares: dict[Path, float] = {}
        self._told: set[Path] = set()

    def look(self) -> None:
        """Measure every disk, and tell once when a mark is passed."""
        for root in set(self._roots.values()):
            try:
                share = self._shares[root] = self._used(root)
            except OSError as error:
                _log.warning("disk_unknown", directory=str(root), why=error.strerror)
                continue
            self._telemetry.disk.labels(str(root)).set(share)
            if share >= self._alert and root not in self._told:
                self._told.add(root)
                _log.error("disk_filling", directory=str(root), used=round(share, 3), refuses_at=self._refuse)
            elif share < self._alert and root in self._told:
                self._told.discard(root)
                _log.info("disk_has_room", directory=str(root), used=round(share, 3))

    def refusal(self, archive: Path) -> str | None:
        """Say why no call can be begun in an archive now, or None."""
        root = self._roots.get(archive, archive)
        share = self._shares.get(root, 0.0)
        if share < self._refuse:
            return None
        return f"the disk of {root} is {share:.0%} full, and from {self._refuse:.0%} on no call is begun"
