"""Somebody who speaks now: a `Mixer` plays it like a prompt whose end is not known yet."""

from __future__ import annotations

import math
import sys
from collections import deque

import numpy as np

from voki_bots.media.dsp import Pcm, fade, level
from voki_bots.units import FRAME_SAMPLES, SAMPLE_RATE, SILENCE_DBFS

TAIL = 0.3
"""Seconds that are still taken after the key was released: the last syllable comes late."""

START = 2
"""Frames that are there before the first one is played: what comes 40 ms late is no hole."""

MOST = 10
"""Frames that may wait; more than that is a delay that nobody wants, and the oldest go."""

LATE = 4
"""Frames from which on a silent one is left out: clocks differ, and a delay must not stay."""

SILENT = -45.0
"""dBFS below which a frame is silent."""

_FRAME = FRAME_SAMPLES / SAMPLE_RATE


class Live:
    """A voice that is said while it comes, for `Supervisor.speak` and the `Mixer`. Of one event loop.

    Args:
        name: For logs and the journal.
        tail: Seconds that are still taken after `release`.

    Attributes:
        dropped: Samples that came too fast to be said, and were not.
    """

    def __init__(self, name: str = "live", *, tail: float = TAIL) -> None:
        self.name = name
        self.dropped = 0
        self._tail = math.ceil(tail / _FRAME - 1e-9)
        self._waiting: deque[Pcm] = deque()
        self._rest: Pcm = np.zeros(0, np.int16)
        self._taken = 0
        self._end = sys.maxsize
        self._primed = self._begun = False
        self._level = SILENCE_DBFS

    def push(self, samples: Pcm) -> None:
        """Take what was said just now.

        Args:
            samples: Mono int16 at 48 kHz, shape (n,), of any length.
        """
        whole = np.concatenate([self._rest, samples])
        count = len(whole) // FRAME_SAMPLES
        for n in range(count):
            self._waiting.append(whole[n * FRAME_SAMPLES : (n + 1) * FRAME_SAMPLES])
        self._rest = whole[count * FRAME_SAMPLES :]
        if len(samples):
            self._level = level(samples)
        # What was said before anybody could hear it is not made up for: it would delay the rest.
        while len(self._waiting) > (MOST if self._taken else START):
            self._waiting.popleft()
            self.dropped += FRAME_SAMPLES

    def release(self) -> None:
        """The key was released: it ends when what waits, and the tail, was said."""
        self._end = min(self._end, self._taken + len(self._waiting) + self._tail)

    @property
    def released(self) -> bool:
        """Whether the key was released."""
        return self._end < sys.maxsize

    @property
    def level(self) -> float:
        """How loud it came last, in dBFS."""
        return self._level

    # ------------------------------------------------------------ what a mixer asks of it

    @property
    def seconds(self) -> float:
        """How much of it was said."""
        return self._taken * _FRAME

    @property
    def frames(self) -> int:
        """Frames that it has; beyond all bounds until it was released."""
        return self._end

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def packet(self, number: int) -> bytes | None:
        """It is never encoded beforehand."""
        return None

    def frame(self, number: int) -> Pcm:
        """Give the next 20 ms; silence where nothing came, or for what was given already."""
        if number < self._taken:
            return np.zeros(FRAME_SAMPLES, np.int16)
        self._taken = number + 1
        self._primed = self._primed and bool(self._waiting)
        if not self._primed and (len(self._waiting) >= START or (self.released and self._waiting)):
            self._primed, self._begun = True, False
        if not self._primed:
            return np.zeros(FRAME_SAMPLES, np.int16)
        made = self._waiting.popleft()
        if len(self._waiting) >= LATE and level(made) < SILENT:
            made = self._waiting.popleft()
        first, last = not self._begun, self._taken >= self._end
        self._begun = True
        if first or last:
            made = fade(made, SAMPLE_RATE, fade_in=_FRAME / 4 * first, fade_out=_FRAME / 4 * last)
        return made
