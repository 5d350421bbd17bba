"""What of a voice is worth recognising: speech, with a little before it, and where each utterance ends. Pure.

Silence costs an engine as much as half of speech does, and ringback, music and keys make it invent words.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from voki_bots import Vad
from voki_bots_transcriber.engine import RATE

Pcm: TypeAlias = npt.NDArray[np.int16]

PREROLL = 0.3
"""Seconds before the first loud moment that are fed too: words begin quietly."""

HANGOVER = 0.6
"""Seconds of silence that end an utterance."""

TAIL = 0.3
"""Seconds of silence that are fed after the last loud moment; the rest only if somebody speaks on."""

LONGEST = 28.0
"""Seconds after which an utterance is ended in any case; Whisper hears thirty at most."""

JUMP = 0.5
"""Seconds that may be missing within an utterance."""

LISTEN = 0.4
"""Seconds over which a sound is judged: in so long the pitch of a voice moves."""

PURE = 0.98
"""The share of all energy in two bands of 16 Hz from which on a sound is a tone; speech reaches 0.967."""

AUDIBLE = 100
"""The magnitude of the loudest sample (−50 dBFS) below which a frame is silent."""

KEYS = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
"""Hertz of the keys of a telephone (ITU-T Q.23): one of each, within 1.8 %."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Samples to be recognised; the first lies at `start` seconds of call time."""

    samples: Pcm
    start: float


@dataclass(frozen=True, slots=True)
class End:
    """The utterance ends here, at `at` seconds of call time."""

    at: float


Step: TypeAlias = Feed | End


class SpeechGate:
    """Decides over the frames of one track.

    Args:
        hangover: Seconds of silence that end an utterance.
        longest: Seconds after which one is ended in any case.
    """

    def __init__(self, *, hangover: float = HANGOVER, longest: float = LONGEST) -> None:
        self._vad = Vad(rate=RATE, release_seconds=hangover)
        self._longest = longest
        self._before: deque[Feed] = deque()
        self._held: list[Feed] = []
        self._heard: deque[Pcm] = deque()
        self._began: float | None = None
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether an utterance is going on."""
        return self._began is not None

    @property
    def until(self) -> float:
        """Seconds of call time just after the last sample that came."""
        return self._until

    def take(self, samples: Pcm, start: float) -> list[Step]:
        """Take int16 samples (n,) at 16 kHz that lie at `start` seconds of call time."""
        steps: list[Step] = []
        if abs(start - self._until) > JUMP:
            steps += self.end()
        elif abs(start - self._until) > 0.001:
            self._before.clear()  # what is fed in one piece must have been said in one
        self._until = start + len(samples) / RATE
        self._vad.process(samples, start)
        loud = self._vad.speaking and bool(np.abs(samples).max(initial=0) > AUDIBLE)
        tone = loud and self._tone(samples)
        feed = Feed(samples, start)
        if not self._vad.speaking:
            self._heard.clear()
        if self._began is None:
            self._remember(feed, PREROLL + LISTEN if self._vad.speaking else PREROLL)
            if loud and not tone:
                self._began = self._before[0].start
                steps += self._before
                self._before.clear()
            return steps
        self._held.append(feed)
        if self._vad.quiet < TAIL:
            steps += self._held
            self._held.clear()
        if not self._vad.speaking or self._until - self._began > self._longest or tone:
            steps += self.end(forget=False)
        return steps

    def end(self, *, forget: bool = True) -> list[Step]:
        """Nothing more comes for now: end the utterance that is going on, if there is one.

        Args:
            forget: Whether the noise that was measured, and what came before, mean nothing any more.
        """
        if forget:
            self._vad.flush()
            self._before.clear()
        self._held.clear()
        was, self._began = self._began, None
        return [] if was is None else [End(self._until)]

    def _tone(self, samples: Pcm) -> bool:
        """Whether it is ringback, a busy tone, or a key of a telephone; asked only where it is loud.

        Before an utterance begins, what may become a tone is one until it was heard for long enough.
        """
        if self._began is None and key(samples):  # within speech a syllable may sound like one
            return True
        self._heard.append(samples)
        while sum(map(len, self._heard)) - len(self._heard[0]) >= LISTEN * RATE:
            self._heard.popleft()
        joined = np.concatenate(self._heard)
        if len(joined) >= LISTEN * RATE:
            return bands(joined, 16.0)[0] > PURE
        return self._began is None and bands(samples, 48.0)[0] > PURE

    def _remember(self, feed: Feed, seconds: float) -> None:
        self._before.append(feed)
        kept = sum(len(each.samples) for each in self._before)
        while len(self._before) > 1 and kept - len(self._before[0].samples) >= seconds * RATE:
            kept -= len(self._before.popleft().samples)


def bands(samples: Pcm, hertz: float) -> tuple[float, float, float]:
    """Give the share of all energy in the two loudest bands, so many Hz wide, and where they are."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    total = float(power.sum())
    if total <= 0.0:
        return 0.0, 0.0, 0.0
    width = max(1, round(hertz / 2 * len(samples) / RATE))
    share, found = 0.0, []
    for _ in range(2):
        peak = int(power.argmax())
        band = slice(max(0, peak - width), peak + width + 1)
        share += float(power[band].sum()) / total
        power[band] = 0.0
        found.append(peak * RATE / len(samples))
    return share, min(found), max(found)


def key(samples: Pcm) -> bool:
    """Whether it sounds like a key of a telephone."""
    share, low, high = bands(samples, 60.0)
    near = [
        any(abs(at - hertz) < 0.018 * hertz for hertz in group)
        for at, group in zip((low, high), KEYS, strict=True)
    ]
    return share > 0.85 and all(near)
