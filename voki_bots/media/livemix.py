"""What a listener hears of a call now: its voices put together as late as their jitter asks for, no later."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from voki_bots.calls import Track
from voki_bots.media.dsp import Pcm, level, mix
from voki_bots.media.frames import Packet
from voki_bots.media.opus import SILENT_PACKET, Decoder, Encoder
from voki_bots.units import FRAME_SAMPLES, SAMPLE_RATE, SILENCE_DBFS

START = 2
"""Frames that are there before the first one is heard: what comes 40 ms late is no hole."""

MOST = 10
"""Frames that may wait; more than that is a delay that nobody wants, and the oldest go."""

LATE = 4
"""Frames from which on a silent one is left out, so that a delay does not stay."""

SILENT = -45.0
"""dBFS below which a frame is silent."""

QUIET = 10
"""Frames without a voice after which it is taken for silent."""

GONE = 1500
"""Frames without a voice after which its decoder is given up."""

CONCEALED = 0.1
"""Seconds of a hole that are made up for; longer ones are silence."""

BITRATE = 32_000
"""Bits per second of what is passed on."""

_FRAME = FRAME_SAMPLES / SAMPLE_RATE


class _Voice:
    """One track on its way through a decoder to the mix."""

    __slots__ = ("decoder", "end", "left", "level", "primed", "quiet", "waiting")

    def __init__(self, rate: int) -> None:
        self.decoder = Decoder(rate)
        self.waiting: deque[Pcm] = deque()
        self.left: Pcm | None = None
        self.end: float | None = None
        self.primed = False
        self.quiet = 0
        self.level = SILENCE_DBFS


class LiveMix:
    """What somebody hears of a call now. A `Sink` of packets; `take` gives 20 ms at a time.

    It is written to in its plugin's thread, and taken from on the event loop.

    Args:
        rate: Samples per second; one of `opus.RATES`.
        wanted: Says of a track whether it is to be heard.
    """

    def __init__(self, rate: int = SAMPLE_RATE, *, wanted: Callable[[Track], bool] = lambda _: True) -> None:
        self.rate = rate
        self._wanted = wanted
        self._size = rate // 50
        self._voices: dict[Track, _Voice] = {}

    def write(self, item: Packet) -> None:
        """Take a packet, and decode it at once."""
        if not self._wanted(item.track):
            return
        voice = self._voices.get(item.track)
        if voice is None:
            voice = self._voices[item.track] = _Voice(self.rate)
        hole = 0.0 if voice.end is None else item.start - voice.end
        if 0.001 < hole <= CONCEALED:
            voice.waiting.append(voice.decoder.recover(item.payload, round(hole * self.rate)))
        samples = voice.decoder.decode(item.payload)
        voice.end = item.start + item.duration / SAMPLE_RATE
        voice.level = level(samples) if len(samples) else SILENCE_DBFS
        voice.waiting.append(samples)

    def flush(self) -> None:
        """Nothing of it is kept."""

    def close(self) -> None:
        """No more will come."""

    def take(self) -> Pcm:
        """Give the next 20 ms of all voices together: shape (rate // 50,)."""
        parts = [made for voice in list(self._voices.values()) if (made := self._next(voice)) is not None]
        for track in [track for track, voice in list(self._voices.items()) if voice.quiet > GONE]:
            del self._voices[track]
        return mix(parts) if parts else np.zeros(self._size, np.int16)

    def levels(self) -> Mapping[Track, float]:
        """How loud each voice is, in dBFS."""
        return {
            track: voice.level if voice.quiet < QUIET else SILENCE_DBFS
            for track, voice in list(self._voices.items())
        }

    def _next(self, voice: _Voice) -> Pcm | None:
        waiting = sum(map(len, list(voice.waiting))) + (0 if voice.left is None else len(voice.left))
        if waiting > MOST * self._size:
            self._draw(voice, waiting - START * self._size)
        elif not voice.primed and waiting < START * self._size:
            voice.quiet += 1
            if voice.quiet == QUIET:  # the rest of a word of long ago
                self._draw(voice, waiting)
            return None
        elif waiting > LATE * self._size and voice.level < SILENT:
            self._draw(voice, self._size)
        voice.primed = waiting >= self._size
        voice.quiet = 0 if voice.primed else voice.quiet + 1
        return self._draw(voice, self._size) if voice.primed else None

    def _draw(self, voice: _Voice, count: int) -> Pcm:
        """Take so many samples of those that wait."""
        parts = [] if voice.left is None else [voice.left]
        have = sum(map(len, parts))
        while have < count and voice.waiting:
            parts.append(voice.waiting.popleft())
            have += len(parts[-1])
        whole = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        voice.left = whole[count:] if len(whole) > count else None
        return whole[:count]


class Broadcast:
    """What a sender says that passes on what somebody hears: a `Source` that encodes a `LiveMix`.

    Args:
        heard: Gives the next 20 ms at 48 kHz.
        clock: Seconds of the event loop.
    """

    speaking = True

    def __init__(self, heard: Callable[[], Pcm], clock: Callable[[], float]) -> None:
        self._heard = heard
        self._clock = clock
        self._encoder = Encoder(SAMPLE_RATE, bitrate=BITRATE)
        self._next: int | None = None
        self._zero = 0.0
        self._silent = 0

    def connect(self, wake: Callable[[], None] | None = None) -> None:
        """A new sender takes from now on; `wake` is called at once, and never again."""
        if wake is not None:
            wake()

    def due(self, now: float) -> tuple[int, bytes] | None:
        """Give the next packet if it is due, with its timestamp in samples at 48 kHz."""
        if self._next is None:
            self._zero, self._next = now, 0
        frame = math.floor((now - self._zero) / _FRAME + 1e-4)
        if frame < self._next:
            return None
        if frame - self._next > MOST:  # our own loop stood still: what is late by so much is left out
            self._next = frame
        self._next += 1
        return (self._next - 1) * FRAME_SAMPLES, self._encoded(self._heard())

    async def pull(self) -> tuple[int, bytes]:
        """Wait until the next packet is due, and give it in the same way."""
        made = self.due(self._clock())
        while made is None:
            await asyncio.sleep(max(0.0, self._zero + (self._next or 0) * _FRAME - self._clock()))
            made = self.due(self._clock())
        return made

    def _encoded(self, samples: Pcm) -> bytes:
        """Encode 20 ms; of a silence only its beginning, in which the encoder comes to rest."""
        self._silent = 0 if samples.any() else self._silent + 1
        return self._encoder.encode(samples) if self._silent < 5 else SILENT_PACKET
