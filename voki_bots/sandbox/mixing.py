"""One line that carries everybody, as an SFU without separate tracks sends it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ..units import FRAME_SAMPLES, SAMPLE_RATE
from . import keys
from .tasks import Tasks

_FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_MOST = 10  # frames that wait of one source


@dataclass(frozen=True, slots=True)
class _NoExtensions:
    audio_level: None = None


@dataclass(frozen=True, slots=True)
class MixedPacket:
    """As much of an RTP packet as is forwarded."""

    sequence_number: int
    timestamp: int
    payload: bytes
    payload_type: int = 0
    marker: int = 0
    ssrc: int = 0
    extensions: _NoExtensions = _NoExtensions()


class _Source:
    """One publisher, decoded to mono frames of 20 ms."""

    def __init__(self) -> None:
        self.waiting: deque[npt.NDArray[np.int16]] = deque(maxlen=_MOST)
        self._decoder: Any = av.CodecContext.create("libopus", "r")
        self._decoder.sample_rate, self._decoder.layout = SAMPLE_RATE, "mono"

    def feed(self, payload: bytes) -> None:
        for frame in self._decoder.decode(av.Packet(payload)):
            samples = frame.to_ndarray()
            whole = samples.reshape(-1, len(frame.layout.channels)) if samples.shape[0] == 1 else samples.T
            self.waiting.append(whole.mean(axis=1).astype(np.int16))


class Mixture:
    """Everybody else in one stream, for one listener. It is a `Publisher` of its own.

    Args:
        tasks: Where it runs.
    """

    user_id = key = "mix"
    codec = "opus"

    def wants_key(self) -> None:
        """Sound has no key frames."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._sources: dict[str, _Source] = {}
        self._running: asyncio.Task[Any] | None = None
        self._encoder: Any = av.CodecContext.create("libopus", "w")
        self._encoder.sample_rate, self._encoder.layout = SAMPLE_RATE, "mono"
        self._encoder.format, self._encoder.bit_rate = "s16", 48_000
        self._encoder.options = {"application": "voip", "frame_duration": "20"}

    def start(self, write: Callable[[Any], Awaitable[None]]) -> None:
        """Send a packet every 20 ms from now on; a second call changes nothing."""
        if self._running is None:
            self._running = self._tasks.start(self._run(write), "mixture")

    def feed(self, source: str, packet: Any) -> None:
        """Take a packet of one of those who are mixed; keys that they press are no sound."""
        if packet.payload and packet.payload_type != keys.TYPE:
            self._sources.setdefault(source, _Source()).feed(packet.payload)

    def stop(self) -> None:
        """Send no more."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _run(self, write: Callable[[Any], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        start, count, sequence = loop.time(), 0, 0
        while True:
            await asyncio.sleep(max(0.0, start + count * _FRAME_SECONDS - loop.time()))
            for payload in self._encode(count):
                timestamp = count * FRAME_SAMPLES & 0xFFFFFFFF
                await write(MixedPacket(sequence & 0xFFFF, timestamp, payload))
                sequence += 1
            count += 1

    def _encode(self, count: int) -> list[bytes]:
        total = np.zeros(FRAME_SAMPLES, dtype=np.int32)
        for source in self._sources.values():
            if source.waiting:
                piece = source.waiting.popleft()[:FRAME_SAMPLES]
                total[: len(piece)] += piece
        samples = np.clip(total, -32_768, 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, count * FRAME_SAMPLES
        return [bytes(packet) for packet in self._encoder.encode(frame)]
