"""Where in the call the samples lie that a recogniser was fed with. Pure."""

from __future__ import annotations

from bisect import bisect_right

from voki_bots_transcriber.engine import RATE

_TOUCHING = 0.0005
_KEPT = 64


class Places:
    """Maps the positions of one stream to call time, over gates, gaps and re-dials."""

    def __init__(self) -> None:
        self.fed = 0
        self._positions: list[int] = []
        self._starts: list[float] = []

    def feed(self, samples: int, start: float) -> int:
        """So many samples from `start` seconds of call time are fed; give the position of the first."""
        position = self.fed
        if not self._positions or abs(self._time(len(self._positions) - 1, position) - start) > _TOUCHING:
            self._positions.append(position)
            self._starts.append(start)
            del self._positions[:-_KEPT], self._starts[:-_KEPT]
        self.fed += samples
        return position

    def at(self, position: int, *, end: bool = False) -> float:
        """Give the call time of a position; of the one before if it is the exclusive `end` of something."""
        index = bisect_right(self._positions, position - end) - 1
        return self._time(max(0, index), position) if self._positions else 0.0

    def _time(self, index: int, position: int) -> float:
        return self._starts[index] + (position - self._positions[index]) / RATE
