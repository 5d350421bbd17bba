"""What is spoken into calls: `Prompt`, and the play-out mixer that a Peer's one sender takes from.

A prompt is decoded once and encoded once, whoever hears it: where it is alone, its packets are sent as they
are. Only where prompts overlap, or one is stopped in the middle, the mixer encodes anew. Between prompts
nothing is sent at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voki_bots.errors import MediaError
from voki_bots.media.dsp import Pcm, fade, mix, resample
from voki_bots.media.live import Live
from voki_bots.media.opus import SILENT_PACKET, Encoder
from voki_bots.units import FRAME_SAMPLES, SAMPLE_RATE

BITRATE = 32_000
"""Bits per second of what is spoken; mono."""

FADE = 0.005
"""Seconds in which a prompt swells and fades, so that its ends do not click."""

LOOKAHEAD = 312
"""Samples by which libopus delays what it encodes (6.5 ms); the last packet must carry the rest."""

MAX_SECONDS = 3600.0

LEAD_IN = 5
"""Packets of silence before the first word on a new connection: the far end has a source to make room for."""

PRIMING = 3
"""Frames with which an encoder is made familiar with what was sent before it took over."""

STALL = 0.2
"""Seconds of delay of our own loop that are caught up by sending faster; more becomes a hole."""

_FRAME = FRAME_SAMPLES / SAMPLE_RATE
_ROUNDING = 1e-4
"""By how many frames a clock may be early: two microseconds."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """Something to be spoken. Immutable; share it between calls.

    Attributes:
        samples: Mono int16 at 48 kHz, shape (n,), read-only.
        name: For logs and the journal.
    """

    samples: Pcm = field(repr=False)
    name: str = ""

    @classmethod
    def from_pcm(
        cls, samples: npt.NDArray[np.int16], rate: int = SAMPLE_RATE, *, name: str = "pcm"
    ) -> Prompt:
        """Make a prompt of samples.

        Args:
            samples: Mono int16, shape (n,).
            rate: Samples per second.
            name: For logs.

        Raises:
            MediaError: If it is none of that, or longer than `MAX_SECONDS`.
        """
        if samples.dtype != np.int16 or samples.ndim != 1 or not len(samples):
            raise MediaError(
                f"a prompt is mono int16 samples of shape (n,); got {samples.dtype} {samples.shape}"
            )
        if not 8_000 <= rate <= 192_000 or len(samples) > MAX_SECONDS * rate:
            raise MediaError(f"a prompt of {len(samples)} samples at {rate} Hz cannot be spoken")
        whole = fade(resample(samples, rate, SAMPLE_RATE), SAMPLE_RATE, fade_in=FADE, fade_out=FADE)
        whole.setflags(write=False)
        return cls(whole, name)

    @classmethod
    def from_file(cls, path: Path | str) -> Prompt:
        """Read a prompt from an audio file of any kind that FFmpeg knows. It blocks; files are remembered.

        Raises:
            MediaError: If it cannot be read, holds no audio or is longer than `MAX_SECONDS`.
        """
        file = Path(path)
        try:
            found = file.stat()
        except OSError as error:
            raise MediaError(f"the prompt {file} cannot be read: {error.strerror}") from None
        return _from_file(file, found.st_mtime_ns, found.st_size)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_RATE

    @cached_property
    def sha256(self) -> str:
        """The digest of its samples, little-endian: it proves later what was said."""
        return hashlib.sha256(self.samples.astype("<i2").tobytes()).hexdigest()

    def prepare(self) -> None:
        """Encode it, off the event loop."""
        self.packets  # noqa: B018 - it is remembered

    def packet(self, number: int) -> bytes | None:
        """Give one frame of 20 ms, encoded; None of what only a mixer can encode."""
        return self.packets[number]

    @cached_property
    def packets(self) -> tuple[bytes, ...]:
        """Opus packets of 20 ms, encoded once for all calls. The first use blocks."""
        encoder = Encoder(SAMPLE_RATE, bitrate=BITRATE)
        return tuple(encoder.encode(self.frame(n)) for n in range(self.frames))

    @property
    def frames(self) -> int:
        """How many frames of 20 ms it takes to speak it."""
        return math.ceil((len(self.samples) + LOOKAHEAD) / FRAME_SAMPLES)

    def frame(self, number: int) -> Pcm:
        """Give the samples of one frame of 20 ms; silence before the beginning and beyond the end."""
        made = np.zeros(FRAME_SAMPLES, dtype=np.int16)
        at = number * FRAME_SAMPLES
        if at >= 0:
            piece = self.samples[at : at + FRAME_SAMPLES]
            made[: len(piece)] = piece
        return made


@lru_cache(maxsize=32)
def _from_file(file: Path, modified: int, size: int) -> Prompt:
    import av

    parts: list[Pcm] = []
    try:
        with av.open(str(file)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for decoded in container.decode(audio=0):
                parts += [frame.to_ndarray()[0] for frame in resampler.resample(decoded)]
                if sum(map(len, parts)) > MAX_SECONDS * SAMPLE_RATE:
                    raise MediaError(f"the prompt {file} is longer than {MAX_SECONDS:g} s")
            parts += [frame.to_ndarray()[0] for frame in resampler.resample(None)]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise MediaError(f"the prompt {file} is no audio that can be read: {type(error).__name__}") from None
    return Prompt.from_pcm(np.concatenate(parts) if parts else np.zeros(0, np.int16), name=file.name)


class Silence:
    """What a sender says that may say nothing and must not be idle: 20 ms of silence at a time.

    Args:
        clock: Seconds of the event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._zero: float | None = None
        self._next = 0

    speaking = True

    def connect(self, wake: Callable[[], None] | None = None) -> None:
        """A new sender takes from now on; `wake` is called at once, and never again."""
        if wake is not None:
            wake()

    def due(self, now: float) -> tuple[int, bytes] | None:
        """Give the next packet if it is due, with its timestamp in samples at 48 kHz."""
        if self._zero is None:
            self._zero = now
        if self._zero + self._next * _FRAME > now + _ROUNDING * _FRAME:
            return None
        self._next += 1
        return (self._next - 1) * FRAME_SAMPLES, SILENT_PACKET

    async def pull(self) -> tuple[int, bytes]:
        """Wait until the next packet is due, and give it in the same way."""
        zero = self._clock() if self._zero is None else self._zero
        await asyncio.sleep(max(0.0, zero + self._next * _FRAME - self._clock()))
        made = None
        while made is None:
            made = self.due(self._clock())
        return made


@dataclass(slots=True, eq=False)
class _Playing:
    prompt: Prompt | Live
    done: asyncio.Future[float]
    at: int = 0
    stopping: bool = False

    def frame(self) -> Pcm:
        made = self.prompt.frame(self.at)
        return fade(made, SAMPLE_RATE, fade_out=_FRAME) if self.stopping else made

    @property
    def over(self) -> bool:
        return self.at >= self.prompt.frames or (self.stopping and self.at > 0)

    @property
    def seconds(self) -> float:
        return min(self.at * _FRAME, self.prompt.seconds)


class Mixer:
    """Plays any number of prompts into one call; the sender of one Peer after another pulls from it.

    The n-th frame is due at its own absolute time, so one that is late makes no other late.

    Args:
        clock: Seconds of the event loop.
        refusal: Asked before each packet; an error means that nothing may be sent now, and ends every prompt.
    """

    def __init__(
        self, clock: Callable[[], float], refusal: Callable[[], Exception | None] = lambda: None
    ) -> None:
        self.sent = 0
        self._clock = clock
        self._refusal = refusal
        self._zero = clock()
        self._next = 0
        self._lead = LEAD_IN
        self._playing: list[_Playing] = []
        self._leaving: list[_Playing] = []
        self._encoder: Encoder | None = None
        self._idle = True
        self._wake = asyncio.Event()
        self._begin: Callable[[], None] | None = None

    @property
    def speaking(self) -> bool:
        """Whether there is something to be sent."""
        return bool(self._playing)

    @property
    def playing(self) -> int:
        """How many prompts are being played, or wait for a connection."""
        return len(self._playing) + len(self._leaving)

    async def say(self, prompt: Prompt | Live, *, begin_within: float = math.inf) -> float:
        """Play a prompt; resolves when its last sample was sent. Cancelled, it fades out within 20 ms.

        Args:
            prompt: What is best prepared before, off the loop, or somebody who speaks now.
            begin_within: Seconds within which the first packet must be sent.

        Returns:
            Seconds that were played.

        Raises:
            TimeoutError: If nobody pulls.
            Exception: What `refusal` gave, or `fail` was told.
        """
        playing = _Playing(prompt, asyncio.get_running_loop().create_future())
        self._playing.append(playing)
        self._wake.set()
        if self._begin is not None:
            self._begin()
        try:
            await asyncio.wait({playing.done}, timeout=None if begin_within == math.inf else begin_within)
            if playing.done.done() or playing.at:
                return await playing.done
        except asyncio.CancelledError:
            playing.stopping = True
            playing.done.cancel()  # nobody waits for it any more, however it ends
            raise
        self._playing.remove(playing)
        raise TimeoutError

    def fail(self, error: Exception) -> None:
        """End every prompt with an error: what was being played into is gone."""
        ended = [*self._playing, *self._leaving]
        self._playing.clear()
        self._leaving.clear()
        for playing in ended:
            if not playing.done.done():
                playing.done.set_exception(error)

    def connect(self, wake: Callable[[], None] | None = None) -> None:
        """A new sender takes from now on.

        Args:
            wake: Called whenever something begins to be played; None for a sender that pulls.
        """
        self._lead = LEAD_IN
        self._encoder = None
        self._begin = wake
        if wake is not None and self._playing:
            wake()

    def due(self, now: float) -> tuple[int, bytes] | None:
        """Give the next packet if it is due, with its timestamp in samples at 48 kHz.

        That it is called again says that the packet before was sent.

        Args:
            now: Seconds of the clock; nothing is given that is due later.
        """
        self._settle()
        frame = math.floor((now - self._zero) / _FRAME + _ROUNDING)
        behind = frame - self._next
        if self._playing and behind < 0 and not self._idle:
            return None
        # What was stopped before its first word is not begun.
        self._playing = [p for p in self._playing if p.at or not p.stopping]
        if self._playing and (error := self._refusal()) is not None:
            self.fail(error)
        if not self._playing:
            self._encoder, self._idle = None, True
            return None
        if self._idle or behind * _FRAME > STALL:
            self._next = max(self._next, frame)
        self._idle = False
        payload, timestamp = self._packet(), self._next * FRAME_SAMPLES
        self._next += 1
        self.sent += 1
        return timestamp, payload

    async def pull(self) -> tuple[int, bytes]:
        """Wait until the next packet is due, and give it as `due` does; for a sender that has a task."""
        self._settle()
        while True:
            if not self._playing:
                self.due(self._clock())
                self._wake.clear()
                await self._wake.wait()
            waited = math.ceil((self._clock() - self._zero) / _FRAME - _ROUNDING)
            frame = max(self._next, waited) if self._idle else self._next
            await asyncio.sleep(max(0.0, self._zero + frame * _FRAME - self._clock()))
            if (made := self.due(self._clock())) is not None:
                return made

    def _settle(self) -> None:
        for playing in self._leaving:
            if not playing.done.done():
                playing.done.set_result(playing.seconds)
        self._leaving.clear()

    def _packet(self) -> bytes:
        if self._lead:
            self._lead -= 1
            return SILENT_PACKET
        alone = self._playing[0] if len(self._playing) == 1 else None
        payload = None
        if alone is not None and self._encoder is None and not alone.stopping:
            payload = alone.prompt.packet(alone.at)
        if payload is None:
            payload = self._encoding().encode(mix([playing.frame() for playing in self._playing]))
        for playing in self._playing:
            playing.at += 1
        self._leaving += [p for p in self._playing if p.over]
        self._playing = [p for p in self._playing if not p.over]
        return payload

    def _encoding(self) -> Encoder:
        """The encoder of what is mixed. A new one first hears what went out before, lest there be a click."""
        if self._encoder is None:
            self._encoder = Encoder(SAMPLE_RATE, bitrate=BITRATE)
            for back in range(PRIMING, 0, -1):
                self._encoder.encode(mix([p.prompt.frame(p.at - back) for p in self._playing]))
        return self._encoder
