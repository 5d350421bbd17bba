"""What the sidecar tells of a person, a track and a sender's clock. Pure; see `voki_bots.archive.sidecar`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

TOLERANCE = 0.020
"""Seconds by which audio and gaps of a track may miss its duration: one packet."""

_EPSILON = 1e-6


@dataclass(slots=True)
class Person:
    """Somebody in the call, and when; `None` ends an interval that is still open."""

    id: str
    name: str = ""
    role: str = "unknown"
    intervals: list[list[float | None]] = field(default_factory=list)

    def enter(self, at: float) -> None:
        """They came, at this call time, if they were not there."""
        if not self.intervals or self.intervals[-1][1] is not None:
            self.intervals.append([at, None])

    def leave(self, at: float) -> None:
        """They went, if they were there."""
        if self.intervals and self.intervals[-1][1] is None:
            self.intervals[-1][1] = at


@dataclass(slots=True)
class SidecarTrack:
    """One track, with what must add up: see `violations`."""

    id: str
    kind: str = "audio"
    local: bool = False
    start: float | None = None
    end: float | None = None
    audio: float | None = None
    participant: str | None = None
    role: str = "unknown"
    confidence: float = 0.0
    why: str = "unknown"
    file: str | None = None
    file_start: float | None = None
    codec: str | None = None
    recovered: bool = False
    clock: dict[str, Any] | None = None
    sync: list[list[float]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)

    def violations(self, *, over: bool) -> list[str]:
        """Say where audio and gaps do not make up the duration; `over` tells that no more can come."""
        if self.kind != "audio" or self.start is None:
            return []
        if self.end is None or self.audio is None:
            return [f"track {self.id} was cut off: its end was never written"] if over else []
        gaps = sorted(self.gaps, key=lambda gap: (gap["start"], gap["end"]))
        begin = min([self.start, *(gap["start"] for gap in gaps)])
        missing = sum(gap["end"] - gap["start"] for gap in gaps)
        lasted = self.end - begin
        found = [
            f"track {self.id} has gaps that overlap at {later['start']:.3f} s"
            for earlier, later in itertools.pairwise(gaps)
            if earlier["end"] - later["start"] > TOLERANCE + _EPSILON
        ]
        if abs(self.audio + missing - lasted) > TOLERANCE + _EPSILON:
            found.append(
                f"track {self.id} lasted {lasted:.3f} s, "
                f"but holds {self.audio:.3f} s of audio and {missing:.3f} s of gaps"
            )
        return found


@dataclass(slots=True)
class ClockFit:
    """A straight line through how late packets came, least squares, kept as sums."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def take(self, position: float, late: float) -> None:
        """Take a point: seconds of call time, seconds late."""
        self.least = late if not self.count else min(self.least, late)
        self.most = late if not self.count else max(self.most, late)
        self.count += 1
        self.x += position
        self.y += late
        self.xx += position * position
        self.xy += position * late

    def result(self) -> dict[str, Any]:
        """Say by how many ppm the sender's clock is slow, from how many points, and how far they spread."""
        divisor = self.count * self.xx - self.x * self.x
        slope = (self.count * self.xy - self.x * self.y) / divisor if divisor > _EPSILON else None
        ppm = None if slope is None else round(slope * 1e6, 1)
        return {"ppm": ppm, "points": self.count, "spread": round(self.most - self.least, 6)}


def until(since: str | None, keep: float | None) -> str | None:
    """Say when something that is kept for `keep` seconds may go, ISO 8601; None if it never may."""
    if since is None or keep is None:
        return None
    end = datetime.fromisoformat(since) + timedelta(seconds=keep)
    return end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
