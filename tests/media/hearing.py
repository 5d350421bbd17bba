"""What the tests of the walk share: packets in, frames out; and a Peer that speaks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.media.conftest import FarEnd
from voki_bots.calls import CallEvent, GapFound, TrackEnded
from voki_bots.media.decode import Decoding
from voki_bots.media.frames import AudioFrame, Packet
from voki_bots.media.peer import Peer
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Mixer
from voki_bots.media.receive import Intake
from voki_bots.media.rtp import Received


class Walk:
    """One call's pipeline whose time is that of its packets' arrival; what it gives is kept.

    Packets are handed in as they arrive; `events`, `packets` and `frames` are what came out.
    """

    def __init__(self, rate: int = 16_000, *, decoded: bool = True) -> None:
        self.now = 0.0
        self.events: list[CallEvent] = []
        self.packets: list[Packet] = []
        self.frames: list[AudioFrame] = []
        self._decoded = decoded
        self._decoding = Decoding(rate, None, lambda: self.now)
        self._pipeline = Pipeline(clock=lambda: self.now, zero=0.0, report=self.events.append)
        tap: Any = _Direct(self)
        self._pipeline.packets(tap, lambda track: True)

    def take(self, item: Any) -> None:
        if isinstance(item, Packet):
            self.packets.append(item)
            if self._decoded:
                self.frames += self._decoding.feed(item)

    def play(self, arrivals: Sequence[Received], tail: float = 0.5) -> None:
        """Let packets arrive, each at its time, with a tick every 20 ms; then let `tail` seconds pass."""
        end = max((r.arrival for r in arrivals), default=0.0) + tail
        waiting = sorted(arrivals, key=lambda r: r.arrival)
        ticks, n = 0, 0
        while ticks * 0.02 <= end:
            while n < len(waiting) and waiting[n].arrival <= ticks * 0.02:
                self.now = waiting[n].arrival
                self._pipeline.push(0, waiting[n])
                n += 1
            self.now = ticks * 0.02
            self._pipeline.tick()
            ticks += 1

    def close(self) -> None:
        self._pipeline.close()
        self.frames += self._decoding.finish()

    @property
    def gaps(self) -> list[GapFound]:
        return [e for e in self.events if isinstance(e, GapFound)]

    @property
    def ended(self) -> list[TrackEnded]:
        return [e for e in self.events if isinstance(e, TrackEnded)]

    def balance(self) -> float:
        """By how much audio and gaps miss the time in the call, in seconds, added up over all tracks."""
        ends = {e.track: e.at for e in self.ended}
        total = sum(e.audio for e in self.ended) + sum(g.end - g.start for g in self.gaps)
        last, first = max(ends.values()), min([g.start for g in self.gaps] or [0.0])
        return total - (last - first)


class _Direct:
    """A tap without a thread: the far side of the hand-off is the test."""

    detached = False

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.lane = self

    def put(self, item: Any) -> None:
        self._walk.take(item)

    def watch(self) -> None: ...

    def take_dropped(self) -> dict[Any, int]:
        return {}

    def take_holes(self, *, over: bool = False) -> list[Any]:
        return []


def hear(arrivals: Sequence[Received], rate: int = 16_000) -> list[AudioFrame]:
    """What a listener hears of packets."""
    walk = Walk(rate)
    walk.play(arrivals)
    walk.close()
    return walk.frames


@asynccontextmanager
async def speaking(
    heard: list[Received], far: FarEnd | None = None, **options: Any
) -> AsyncIterator[tuple[Peer, Mixer]]:
    """A Peer with a voice, connected to a stock end whose packets are kept."""
    far, mixer = far or FarEnd(), Mixer(time.monotonic)
    ours = Peer(0, loopback=True, on_packet=lambda _: None, voice=mixer, clock=time.monotonic, **options)
    async with ours:
        offer = await ours.offer()
        answer = await far.answer(offer)
        intake = Intake(heard.append, time.monotonic)
        intake.attach(far.pc)
        from voki_bots.media import sdp

        intake.describe(sdp.parse(offer, "offer").sections)
        await ours.accept(answer)
        await ours.connected(5)
        yield ours, mixer
    await far.pc.close()
