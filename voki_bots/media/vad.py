"""Voice activity by level, with hysteresis. Pure; every duration is in seconds and says so."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from voki_bots.units import SILENCE_DBFS

STEADY_SECONDS = 1.2
STEADY_DB = 6.0
"""What was so steady for so long is noise, however loud: the levels of speech differ by much more."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of voice, in seconds of the time that the samples were given with."""

    start: float
    end: float


@dataclass(slots=True)
class Vad:
    """Finds stretches of voice in one track.

    A stretch begins when the level was above the threshold for `attack_seconds`, and ends when it was
    below for `release_seconds`. The threshold follows the noise: it lies `margin_db` above the quietest
    level of late, but never below `floor_dbfs`.

    Attributes:
        rate: Samples per second.
        floor_dbfs: What is quieter is never voice.
        margin_db: By how much voice must exceed the noise.
        attack_seconds: How long it must be loud to count as voice.
        release_seconds: How long it must be quiet to end it.
        window_seconds: The stretch over which a level is measured.
    """

    rate: int = 16_000
    floor_dbfs: float = -50.0
    margin_db: float = 9.0
    attack_seconds: float = 0.06
    release_seconds: float = 0.5
    window_seconds: float = 0.02
    _rest: npt.NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, dtype=np.int16), repr=False)
    _at: float = 0.0
    _late: deque[float] = field(default_factory=deque, repr=False)
    _noise: float = SILENCE_DBFS
    _loud: float = 0.0
    _quiet: float = 0.0
    _start: float | None = None

    @property
    def speaking(self) -> bool:
        """Whether a stretch has begun and not ended."""
        return self._start is not None

    @property
    def quiet(self) -> float:
        """Seconds since it was last loud."""
        return self._quiet

    def process(self, samples: npt.NDArray[np.int16], start: float) -> list[Speech]:
        """Take int16 samples (n,) that begin at `start` seconds; give the stretches that ended in them.

        A jump in time ends what was going on.
        """
        ended = []
        if abs(start - (self._at + len(self._rest) / self.rate)) > self.window_seconds:
            ended = self.flush()
            self._at = start
        joined = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        size = max(1, round(self.window_seconds * self.rate))
        count = len(joined) // size
        self._rest = joined[count * size :].copy()
        if count:
            windows = joined[: count * size].reshape(count, size).astype(np.float32)
            power = np.maximum((windows * windows).mean(axis=1) / 32_768.0**2, 10.0 ** (SILENCE_DBFS / 10))
            for decibels in (10.0 * np.log10(power)).tolist():
                ended += self._window(float(decibels), size / self.rate)
        return ended

    def flush(self) -> list[Speech]:
        """End what is going on, at the last voice heard; the state is as at the beginning."""
        ended = [] if self._start is None else [Speech(self._start, self._at - self._quiet)]
        self._start, self._loud, self._quiet = None, 0.0, 0.0
        self._rest = self._rest[:0]
        return ended

    def _window(self, decibels: float, seconds: float) -> list[Speech]:
        # The noise estimate falls at once and rises slowly, for voice has pauses and noise has none. What
        # first follows digital silence may be noise, or somebody who speaks: no more of it counts.
        silent = self._noise <= SILENCE_DBFS
        limit = self.floor_dbfs + self.margin_db if silent else self._noise + 3.0 * seconds
        self._noise = min(decibels, limit)
        self._late.append(decibels)
        if len(self._late) > STEADY_SECONDS / seconds:
            self._late.popleft()
            if (least := min(self._late)) > max(self._late) - STEADY_DB:
                self._noise = max(self._noise, least)
        loud = decibels > max(self.floor_dbfs, self._noise + self.margin_db)
        self._at += seconds
        ended: list[Speech] = []
        if loud:
            self._loud, self._quiet = self._loud + seconds, 0.0
            if self._start is None and self._loud >= self.attack_seconds - 1e-9:
                self._start = self._at - self._loud
        else:
            self._loud = 0.0
            self._quiet += seconds
            if self._start is not None and self._quiet >= self.release_seconds - 1e-9:
                ended.append(Speech(self._start, self._at - self._quiet))
                self._start = None
        return ended
