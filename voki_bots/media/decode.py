"""From packets to frames, for whoever listens: decode in batches, conceal what is missing, filter.

It runs in a plugin's own thread. One stream for each track; a batch is about a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from voki_bots.calls import Track
from voki_bots.media.frames import AudioFrame, Filter, Packet
from voki_bots.media.opus import Decoder
from voki_bots.units import SAMPLE_RATE

BATCH_SECONDS = 0.1
LATE_SECONDS = 0.15
CONCEAL_SECONDS = 0.1
FILL_SECONDS = 2.0
"""Longer holes are not filled: the next frame just starts later."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The stream of a track ends or pauses here."""

    track: Track


class _Stream:
    """One track on its way through a decoder and a chain of filters."""

    __slots__ = ("_count", "_decoder", "_end", "_filters", "_full", "_rate", "_since", "_start", "_track")

    def __init__(self, track: Track, rate: int, filters: Sequence[Filter]) -> None:
        self._track = track
        self._rate = rate
        self._filters = filters
        self._decoder = Decoder(rate)
        self._end: int | None = None
        self._full = BATCH_SECONDS * rate
        self._count = 0
        self._start = 0
        self._since = 0.0

    def feed(self, packet: Packet, clock: Callable[[], float]) -> Iterable[AudioFrame]:
        start = round(packet.start * SAMPLE_RATE)
        made: Iterable[AudioFrame] = ()
        if self._end is not None and start != self._end:
            # The decoder must conceal before it decodes what comes after.
            made = list(self._bridge(start - self._end, packet.payload))
        if not self._count:
            self._start, self._since = start, clock()
        self._count = self._decoder.collect(packet.payload)
        self._end = start + packet.duration
        return [*made, *self._batch()] if self._count >= self._full else made

    def idle(self, now: float) -> Iterable[AudioFrame]:
        if self._count and now - self._since >= LATE_SECONDS:
            yield from self._batch()

    def cut(self) -> Iterable[AudioFrame]:
        yield from self._batch()
        for n, filter_ in enumerate(self._filters):
            for frame in filter_.flush():
                yield from _through(self._filters[n + 1 :], frame)
        self._end = None

    def _bridge(self, hole: int, payload: bytes) -> Iterable[AudioFrame]:
        """Conceal the first tenth of a second of a hole, fill up to two with silence, jump beyond."""
        at = self._end
        yield from self._batch()
        if at is None or not 0 < hole <= FILL_SECONDS * SAMPLE_RATE:
            yield from self.cut()
            self._decoder = Decoder(self._rate)
            return
        samples = hole * self._rate // SAMPLE_RATE
        limit = int(CONCEAL_SECONDS * self._rate)
        if samples <= limit:
            made = self._decoder.recover(payload, samples)
        else:
            silence = np.zeros(samples - limit, dtype=np.int16)
            made = np.concatenate([self._decoder.conceal(limit), silence])
        if samples:
            frame = AudioFrame(self._track, made, self._rate, at / SAMPLE_RATE, concealed=True)
            yield from _through(self._filters, frame)

    def _batch(self) -> Iterable[AudioFrame]:
        samples, self._count = self._decoder.collected(), 0
        if len(samples):
            frame = AudioFrame(self._track, samples, self._rate, self._start / SAMPLE_RATE)
            yield from _through(self._filters, frame)


class Decoding:
    """Decodes the packets of any number of tracks to mono int16.

    Args:
        rate: Samples per second; one of `opus.RATES`.
        filters: Makes the chain of filters of one track.
        clock: Seconds.
    """

    def __init__(
        self, rate: int, filters: Callable[[], Sequence[Filter]] | None, clock: Callable[[], float]
    ) -> None:
        self._rate = rate
        self._make = filters
        self._clock = clock
        self._streams: dict[Track, _Stream] = {}

    def feed(self, item: Packet | Cut) -> Iterable[AudioFrame]:
        """Take a packet, or the news that a track's stream ends; give frames."""
        if isinstance(item, Cut):
            stream = self._streams.pop(item.track, None)
            return stream.cut() if stream is not None else ()
        stream = self._streams.get(item.track)
        if stream is None:
            filters = tuple(self._make()) if self._make is not None else ()
            stream = self._streams[item.track] = _Stream(item.track, self._rate, filters)
        return stream.feed(item, self._clock)

    def idle(self, now: float) -> Iterable[AudioFrame]:
        """Give batches that wait for packets which do not come."""
        for stream in self._streams.values():
            yield from stream.idle(now)

    def finish(self) -> Iterable[AudioFrame]:
        """Give everything that is left."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            yield from stream.cut()


def _through(filters: Sequence[Filter], frame: AudioFrame) -> Iterable[AudioFrame]:
    if not filters:
        yield frame
        return
    for made in filters[0].process(frame):
        yield from _through(filters[1:], made)
