"""How the clocks of senders run against ours. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voki_bots import Packet, Track

WINDOW = 10.0
"""Seconds of a track that give one point: the least delayed packet in it is hardly delayed at all."""

LEAST = 50
"""Packets that a shorter window must have to count."""

CLOCK = 48_000
"""Ticks a second in an Ogg/Opus file (RFC 7845 section 4)."""


@dataclass(slots=True)
class _Window:
    begin: float
    offset: int
    end: float
    late: float
    at: float
    packets: int = 0


class Clocks:
    """Finds out, window by window, by how much the packets of a track come late.

    A packet is late by its arrival less its place in the call. The network only adds to that, so the least
    value in a window is the clocks' difference. Values are relative to the first window of the track.
    """

    def __init__(self) -> None:
        self._windows: dict[Track, _Window] = {}
        self._zeros: dict[Track, float] = {}
        self._anchors: dict[Track, int] = {}

    def take(self, packet: Packet) -> dict[str, Any] | None:
        """Take a packet; give the point of a window that it ended."""
        track, late = packet.track, packet.arrival - packet.start
        # Where the timeline begins anew, its offset to the sender's timestamps changes.
        offset = round(packet.start * CLOCK) - packet.timestamp
        window = self._windows.get(track)
        point = None
        if window is not None and (offset != window.offset or packet.start - window.begin >= WINDOW):
            point = self._point(track, window)
            if offset != window.offset:
                self._anchors[track] = self._anchors.get(track, 0) + 1
            window = None
        if window is None:
            window = self._windows[track] = _Window(packet.start, offset, packet.start, late, packet.start)
        window.packets += 1
        window.end = packet.start
        if late < window.late:
            window.late, window.at = late, packet.start
        return point

    def rest(self) -> list[dict[str, Any]]:
        """Give the points of the windows that were begun; nothing may follow."""
        windows, self._windows = self._windows, {}
        points = [self._point(track, window) for track, window in windows.items()]
        return [point for point in points if point is not None]

    def _point(self, track: Track, window: _Window) -> dict[str, Any] | None:
        if window.packets < LEAST:
            return None
        zero = self._zeros.setdefault(track, window.late)
        return {
            "track": str(track),
            "position": round(window.at, 3),
            "late": round(window.late - zero, 6),
            "anchor": self._anchors.get(track, 0),
        }
