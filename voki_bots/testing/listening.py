"""The subscriptions of a `FakeAttendance`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

from voki_bots.calls import Track
from voki_bots.media.frames import AudioFrame, Filter, Packet
from voki_bots.units import to_samples, to_seconds

CHUNK = 0.1
"""Seconds of a frame, about as much as a real call gives at a time."""

Sorting: TypeAlias = Callable[[Track], bool]
"""Whether a track is wanted."""


class Frames:
    """Makes frames of one listener from the packets of all tracks.

    Args:
        rate: Samples per second.
        filters: Makes the chain of filters of one track.
    """

    def __init__(self, rate: int, filters: Callable[[], Sequence[Filter]]) -> None:
        from voki_bots.media.opus import Decoder

        self._rate = rate
        self._filters = filters
        self._decoder = Decoder
        self._decoders: dict[Track, Any] = {}
        self._ends: dict[Track, float] = {}
        self._chains: dict[Track, Sequence[Filter]] = {}

    def of(self, items: Sequence[Packet]) -> list[AudioFrame]:
        """Decode packets of one track, with concealed silence where some are missing."""
        track = items[0].track
        decoder = self._decoders.setdefault(track, self._decoder(self._rate))
        start = end = self._ends.get(track, items[0].start)
        parts, concealed = [], []
        for packet in items:
            missing = to_samples(packet.start - end, self._rate)
            decoded = decoder.decode(packet.payload)
            for samples, made in ((np.zeros(max(missing, 0), np.int16), True), (decoded, False)):
                parts.append(samples)
                concealed.append(np.full(len(samples), made))
            end = packet.start + to_seconds(packet.duration)
        self._ends[track] = end
        pcm, made_up = np.concatenate(parts), np.concatenate(concealed)
        step = to_samples(CHUNK, self._rate)
        return [
            AudioFrame(
                track,
                pcm[at : at + step],
                self._rate,
                start + to_seconds(at, self._rate),
                bool(made_up[at : at + step].all()),
            )
            for at in range(0, len(pcm), step)
        ]

    def filtered(self, frame: AudioFrame) -> list[AudioFrame]:
        """Send a frame through the chain of its track."""
        frames = [frame]
        for each in self._chain(frame.track):
            frames = [made for given in frames for made in each.process(given)]
        return frames

    def rest(self) -> list[AudioFrame]:
        """Give what the filters of all tracks still hold back."""
        made: list[AudioFrame] = []
        for chain in self._chains.values():
            frames: list[AudioFrame] = []
            for each in chain:
                frames = [out for given in frames for out in each.process(given)]
                frames += each.flush()
            made += frames
        return made

    def _chain(self, track: Track) -> Sequence[Filter]:
        if track not in self._chains:
            self._chains[track] = self._filters()
        return self._chains[track]


class FakeListening:
    """A subscription; it implements `voki_bots.Listening`. Its sink runs where `run` runs it."""

    def __init__(
        self,
        sink: Any,
        selects: Sorting,
        run: Callable[[Callable[[], object]], None],
        frames: Frames | None = None,
    ) -> None:
        self._sink = sink
        self._write: Callable[[Any], None] = getattr(sink, "write", sink)
        self._selects = selects
        self._run = run
        self._frames = frames
        self._closed = False
        self._broken = False

    def offer(self, items: Sequence[Packet]) -> None:
        """Hand over packets in their order; those of tracks that are not wanted are passed over."""
        wanted = [each for each in items if self._selects(each.track)]
        if self._closed or not wanted:
            return
        if self._frames is None:
            self._hand_over(wanted)
            return
        for track in dict.fromkeys(each.track for each in wanted):
            self.offer_frames(self._frames.of([each for each in wanted if each.track == track]))

    def offer_frames(self, items: Sequence[AudioFrame]) -> None:
        """Hand over frames through the filters, if this is a listener."""
        if self._closed or self._frames is None:
            return
        frames = self._frames
        wanted = [each for each in items if self._selects(each.track)]
        self._act(lambda: [self._write(made) for given in wanted for made in frames.filtered(given)])
        self._flush()

    @property
    def dropped(self) -> int:
        """Nothing is ever dropped here."""
        return 0

    async def drain(self) -> None:
        """See `voki_bots.Listening`."""
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        self._run(lambda: loop.call_soon_threadsafe(done.set))
        await done.wait()

    def close(self) -> None:
        """See `voki_bots.Listening`."""
        if self._closed:
            return
        self._closed = True
        if self._frames is not None:
            frames = self._frames
            self._act(lambda: [self._write(made) for made in frames.rest()])
        self._flush()
        if close := getattr(self._sink, "close", None):
            self._run(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _hand_over(self, items: Sequence[Packet]) -> None:
        self._act(lambda: [self._write(each) for each in items])
        self._flush()

    def _flush(self) -> None:
        if flush := getattr(self._sink, "flush", None):
            self._act(flush)

    def _act(self, act: Callable[[], object]) -> None:
        """Run something in the thread; after the first failure the sink gets no more, as in a real call."""

        def once() -> None:
            if self._broken:
                return
            try:
                act()
            except Exception:
                self._broken = True
                raise

        self._run(once)
