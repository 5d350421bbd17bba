"""Tones, and ears for them: each party says one tone, and measures how loud every tone is on every line.

Of the sound nothing is kept, only the levels of each twentieth of a second.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from voki_bots.bots.plugin import Attendance, Plugin, PluginSettings
from voki_bots.calls import Role, Track
from voki_bots.media.frames import AudioFrame
from voki_bots.media.prompts import Prompt
from voki_bots.units import FULL_SCALE, SAMPLE_RATE

HERTZ: Mapping[Role, float] = {Role.ATTENDANT: 317.0, Role.CUSTOMER: 523.0, Role.SUPERVISOR: 1187.0}
"""Who says which tone. No harmonic, sum or difference of the first two is near the third."""

LOUD = 0.25
"""Amplitude of a tone, 1.0 = full scale: -12 dBFS."""

NOTHING = -127.0
"""dBFS of what is not there at all."""

RATE = 16_000
WINDOW = RATE // 10
"""Samples in which a level is measured: a tenth of a second, which tells tones 20 Hz apart."""

HOP = WINDOW // 2

SAID = 12.0
"""Seconds of a tone that are said at once; it begins and ends so softly that nothing else is heard of it."""

SOFT = 0.1

BESIDE = (-110.0, -85.0, -60.0, 60.0, 85.0, 110.0)
"""Hertz beside a tone at which it is quieter, even where no more than one packet of it came. Where it is not,
what is heard is a click: of a mixture that stumbled, or of somebody's packets that are missing."""

STANDS_OUT = 3.6
"""How many times louder a tone is than what lies beside it; one packet of it is four times as loud."""

LOOK = 0.02


@lru_cache(maxsize=8)
def tone(hertz: float) -> Prompt:
    """The tone of a party, as something to say."""
    count = round(SAID * SAMPLE_RATE)
    wave = np.sin(2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE) * LOUD * (FULL_SCALE - 1)
    edge = round(SOFT * SAMPLE_RATE)
    slope = (1 - np.cos(np.pi * np.arange(edge) / edge)) / 2
    wave[:edge] *= slope
    wave[-edge:] *= slope[::-1]
    return Prompt.from_pcm(np.round(wave).astype(np.int16), name=f"{hertz:.0f} Hz")


@lru_cache(maxsize=1)
def _projection() -> np.ndarray:
    """What a window is multiplied by: for each tone and what lies beside it a cosine, then all sines."""
    shape = np.hanning(WINDOW)
    hertz = np.array([tone + beside for tone in HERTZ.values() for beside in (0.0, *BESIDE)])
    turns = 2 * np.pi * np.outer(hertz, np.arange(WINDOW) / RATE)
    waves = np.concatenate([np.cos(turns), np.sin(turns)])
    return np.asarray(waves * shape * 2 / shape.sum(), dtype=np.float32)


def levels(samples: np.ndarray) -> dict[Role, float]:
    """The level of each tone in one window, in dBFS: int16, shape (WINDOW,). What is no tone is nothing."""
    cosines, sines = np.split(_projection() @ (samples.astype(np.float32) / FULL_SCALE), 2)
    found: dict[Role, float] = {}
    for role, (amplitude, *beside) in zip(
        HERTZ, np.hypot(cosines, sines).reshape(len(HERTZ), -1), strict=True
    ):
        heard = amplitude if amplitude > STANDS_OUT * max(beside) else 0.0
        found[role] = max(NOTHING, 20 * float(np.log10(max(heard, 1e-7))))
    return found


@dataclass(frozen=True, slots=True)
class Moment:
    """One window of one line: when it ends, in call time, and how loud each tone was."""

    track: Track
    start: float
    end: float
    levels: Mapping[Role, float]


class Ears(Plugin[PluginSettings]):
    """Measure how loud every tone is on every line that comes.

    Args:
        name: Whose ears.

    Attributes:
        moments: What was measured of others.
        own: What was measured of ourselves, as it was sent.
    """

    def __init__(self, name: str) -> None:
        super().__init__(PluginSettings(), name=name)
        self.moments: list[Moment] = []
        self.own: list[Moment] = []
        self._rest: dict[Track, tuple[float, np.ndarray]] = {}

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Listen to everybody, and to ourselves: what was never sent was not kept from anybody."""
        call.listen(self.take, of=("all", "bot"), rate=RATE)
        yield

    def take(self, frame: AudioFrame) -> None:
        """Measure a frame; it runs in the plugin's thread. What a decoder made up is not measured."""
        start, rest = self._rest.pop(frame.track, (frame.start, np.zeros(0, dtype=np.int16)))
        if frame.concealed or abs(start + len(rest) / RATE - frame.start) > HOP / RATE:
            # What was said before a hole counts too, to its last packet.
            self._measure_rest(frame.track, start, rest)
            start, rest = frame.start, np.zeros(0, dtype=np.int16)
        if frame.concealed:
            return
        samples = np.concatenate([rest, frame.samples])
        for at in itertools.count(0, HOP):
            if at + WINDOW > len(samples):
                break
            self._measured(frame.track, start + at / RATE, samples[at : at + WINDOW])
        self._rest[frame.track] = start + at / RATE, samples[at:]

    def _measure_rest(self, track: Track, start: float, rest: np.ndarray) -> None:
        if len(rest):
            left = (WINDOW - len(rest)) // 2
            self._measured(track, start, np.pad(rest, (left, WINDOW - len(rest) - left)))

    def _measured(self, track: Track, start: float, samples: np.ndarray) -> None:
        kept = self.own if track.local else self.moments
        kept.append(Moment(track, start, start + WINDOW / RATE, levels(samples)))

    def loudest(self, role: Role, since: float, until: float = float("inf")) -> float:
        """The loudest that somebody's tone was in a span of call time, on any line, in dBFS."""
        return max((m.levels[role] for m in _between(self.moments, since, until)), default=NOTHING)

    def said(self, role: Role, since: float) -> float:
        """The loudest that we ourselves said a tone since a moment of call time, in dBFS."""
        return max((m.levels[role] for m in _between(self.own, since, float("inf"))), default=NOTHING)

    def together(self, since: float, loud: float) -> bool:
        """Whether one window of one line held two tones at least this loud."""
        found = _between(self.moments, since, float("inf"))
        return any(sum(level >= loud for level in m.levels.values()) > 1 for m in found)

    async def until(self, at: float, limit: float) -> None:
        """Wait until a moment of call time was measured, or nothing more is to be expected of it."""
        deadline = asyncio.get_running_loop().time() + limit
        while asyncio.get_running_loop().time() < deadline:
            if any(m.end >= at for m in self.moments[-8:]):
                return
            await asyncio.sleep(LOOK)


def _between(moments: list[Moment], since: float, until: float) -> list[Moment]:
    return [m for m in list(moments) if m.end > since and m.start < until]
