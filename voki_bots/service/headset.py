"""What one person at the console hears and says: by WebRTC, or as PCM over a websocket if that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import numpy as np

from voki_bots.media.dsp import Pcm, Resampler, level
from voki_bots.media.live import Live
from voki_bots.media.livemix import Broadcast, LiveMix
from voki_bots.media.opus import Decoder
from voki_bots.media.peer import Peer, Received
from voki_bots.media.rtp import distance
from voki_bots.units import SAMPLE_RATE, SILENCE_DBFS

PCM_RATE = 16_000
"""Samples per second over the websocket, each way: mono int16, little-endian."""

CHUNK = 2
"""Frames of 20 ms that are sent at once over the websocket."""

PATIENCE = 3.0
"""Seconds without a sign of life of the browser after which WebRTC is over, and the websocket carries on."""

GONE = 0.5
"""Seconds after which a microphone of which nothing comes is silent."""

CONCEALED = 5
"""Packets that may be missing in a row and are made up for."""


class Headset:
    """One person's audio, in and out; use it as ``async with``.

    Args:
        clock: Seconds of the event loop.
        loopback: Whether the browser may be on this machine.

    Attributes:
        mix: What is heard; a sink of packets.
        live: What is being said; None while the key is not pressed.
        listening: Whether anything is to be heard.
        heard_at: When the microphone last gave anything, in seconds of the clock.
    """

    def __init__(self, clock: Callable[[], float], *, loopback: bool) -> None:
        self.mix = LiveMix(SAMPLE_RATE)
        self.live: Live | None = None
        self.listening = False
        self.heard_at = -GONE
        self._clock = clock
        self._loopback = loopback
        self._peer: Peer | None = None
        self._stack = AsyncExitStack()
        self._down = Resampler(SAMPLE_RATE, PCM_RATE)
        self._up = Resampler(PCM_RATE, SAMPLE_RATE)
        self._decoder = Decoder(SAMPLE_RATE)
        self._sequence: int | None = None
        self._level = SILENCE_DBFS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def by_webrtc(self) -> bool:
        """Whether audio goes by WebRTC now."""
        return self._peer is not None and self._peer.state == "connected"

    @property
    def level(self) -> float | None:
        """How loud the microphone is, in dBFS; None if nothing comes of it."""
        return self._level if self._clock() - self.heard_at < GONE else None

    async def answer(self, offer: str) -> str:
        """Take the browser's offer, and give our answer; an earlier connection is closed.

        Raises:
            NegotiationError: If it cannot be answered.
        """
        await self._stack.aclose()
        self._sequence, self._decoder = None, Decoder(SAMPLE_RATE)
        peer = Peer(
            0,
            voice=Broadcast(self.mix.take, self._clock),
            on_packet=self._packet,
            loopback=self._loopback,
            clock=self._clock,
            patience=PATIENCE,
        )
        await self._stack.enter_async_context(peer)
        answer = await peer.answer(offer)
        self._peer = peer
        return answer

    def say(self, pcm: bytes) -> None:
        """Take what the microphone gave, as PCM of the websocket; an odd byte at its end is dropped."""
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.int16)
        if len(samples):
            self._said(self._up.process(samples), level(samples))

    def chunk(self) -> bytes:
        """Give what is heard next, as PCM for the websocket."""
        frames = [self.mix.take() for _ in range(CHUNK)]
        return self._down.process(np.concatenate(frames)).astype("<i2").tobytes()

    def _packet(self, received: Received) -> None:
        """A packet of the browser's microphone."""
        if received.kind != "audio" or not received.payload:
            return
        step = 1 if self._sequence is None else distance(received.sequence, self._sequence, 16)
        if step <= 0:
            return  # it comes too late to be said
        self._sequence = received.sequence
        parts = [self._decoder.decode(received.payload)]
        if 1 < step <= CONCEALED:
            parts.insert(0, self._decoder.conceal((step - 1) * len(parts[0])))
        self._said(np.concatenate(parts), level(parts[-1]))

    def _said(self, samples: Pcm, loudness: float) -> None:
        self._level, self.heard_at = loudness, self._clock()
        if self.live is not None:
            self.live.push(samples)


async def play(
    headset: Headset, clock: Callable[[], float], send: Callable[[bytes], Awaitable[None]]
) -> None:
    """Send what is heard as PCM, at absolute deadlines, while anybody listens and WebRTC does not carry it.

    Args:
        headset: Whose.
        clock: Seconds of the event loop.
        send: Takes each chunk.
    """
    period = CHUNK * 0.02
    due = clock()
    while True:
        due = max(due + period, clock() - period)
        await asyncio.sleep(max(0.0, due - clock()))
        if headset.listening and not headset.by_webrtc:
            await send(headset.chunk())
