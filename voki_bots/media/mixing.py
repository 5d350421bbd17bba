"""Recorded tracks laid on call time and mixed, block by block, however long the call is.

The files of tracks hold packets at the places that their sender's clock gave them. Clocks differ: 100 ppm
are 360 ms in an hour. Here, and only here, positions are bent to the bot's own clock, softly enough not to
be heard; where a track is silent anyway they jump.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voki_bots.media.opus import Decoder, packet_ticks
from voki_bots.units import FULL_SCALE, SAMPLE_RATE

Pcm = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]

MAX_BEND = 0.005
"""The most by which time is stretched: half a percent is a twelfth of a semitone."""

DEADBAND_SECONDS = 0.003
"""A track that is less misplaced than this is left alone, so that most are copied to the sample."""

CONCEAL_SECONDS = 0.1
"""Holes up to this long are made up for by the decoder; longer ones are silence."""

_MEDIAN = 5
_MARGIN = 4


@dataclass(frozen=True, slots=True)
class ClockPoint:
    """How late a track's packets came at least, around one of its positions.

    Attributes:
        position: Seconds of call time, by the sender's clock.
        late: Seconds by which the least delayed packet came later than the first of all should have.
        anchor: Rises by one whenever the sender's timestamps began anew.
    """

    position: float
    late: float
    anchor: int = 0


class Bend:
    """How far a track's positions must be moved, in seconds, to lie on the bot's clock.

    The lateness of the least delayed packets is what the clocks differ by; a median over five points keeps
    out what was a bad moment of the network.
    """

    def __init__(self, points: Iterable[ClockPoint] = ()) -> None:
        self._begins: list[float] = []
        self._curves: list[tuple[Floats, Floats]] = []
        ordered = sorted(points, key=lambda point: (point.anchor, point.position))
        for anchor in sorted({point.anchor for point in ordered}):
            piece = [point for point in ordered if point.anchor == anchor]
            late = [point.late for point in piece]
            smooth = [_median(late, index) for index in range(len(late))]
            positions = np.array([point.position for point in piece])
            self._begins.append(float(positions[0]))
            self._curves.append((positions, np.array(smooth)))
        self._zero = float(self._curves[0][1][0]) if self._curves else 0.0

    def at(self, position: float) -> float:
        """Say by how much something at `position` must be moved; linear between points."""
        if not self._curves:
            return 0.0
        piece = max(0, bisect_right(self._begins, position) - 1)
        positions, late = self._curves[piece]
        if len(positions) < 2:
            return float(late[0]) - self._zero
        # Beyond the ends the clock goes on as it went there.
        if position < positions[0]:
            slope = (late[1] - late[0]) / max(positions[1] - positions[0], 1e-9)
            return (
                float(late[0] + np.clip(slope, -MAX_BEND, MAX_BEND) * (position - positions[0])) - self._zero
            )
        if position > positions[-1]:
            slope = (late[-1] - late[-2]) / max(positions[-1] - positions[-2], 1e-9)
            ahead = np.clip(slope, -MAX_BEND, MAX_BEND) * (position - positions[-1])
            return float(late[-1] + ahead) - self._zero
        return float(np.interp(position, positions, late)) - self._zero


def _median(values: Sequence[float], index: int) -> float:
    """The median around an index, over fewer values towards the ends so that it stays centred."""
    reach = min(_MEDIAN // 2, index, len(values) - 1 - index)
    return float(np.median(values[index - reach : index + reach + 1]))


class _Run:
    """Audio without a hole: raw samples, and knots that say where on call time they belong."""

    def __init__(self, start: float, raw: int) -> None:
        self.first = raw
        self.samples = np.zeros(0, dtype=np.int16)
        self.raw = [float(raw)]
        self.out = [start]

    @property
    def begin(self) -> int:
        """The first whole sample of call time in it."""
        return math.ceil(self.out[0] - 1e-6)

    @property
    def end(self) -> int:
        """One beyond the last."""
        return math.ceil(self.out[-1] - 1e-6)

    def add(self, samples: Pcm, moved: float) -> None:
        """Append samples; after them, positions are moved by `moved` samples."""
        self.samples = np.concatenate([self.samples, samples])
        self.raw.append(self.raw[-1] + len(samples))
        self.out.append(self.raw[-1] + moved)

    def render(self, begin: int, end: int) -> Pcm:
        """Give the samples of call time from `begin` to `end`, which must lie in the run."""
        low = max(0, bisect_right(self.out, begin) - 1)
        high = min(len(self.out), bisect_right(self.out, end) + 1)
        shifts = [out - raw for raw, out in zip(self.raw[low:high], self.out[low:high], strict=True)]
        if max(shifts) - min(shifts) < 1e-6:
            at = round(begin - shifts[0]) - self.first
            made = self.samples[max(at, 0) : at + end - begin]
            return (
                made if len(made) == end - begin else np.pad(made, (0, end - begin - len(made)), mode="edge")
            )
        places = np.interp(np.arange(begin, end, dtype=np.float64), self.out, self.raw) - self.first
        return _interpolate(self.samples, places)

    def forget(self, before: int) -> None:
        """Let go of what lies before a sample of call time."""
        keep = max(0, bisect_right(self.out, before) - 2)
        if keep > 0:
            self.samples = self.samples[int(self.raw[keep]) - self.first :]
            self.first = int(self.raw[keep])
            del self.raw[:keep], self.out[:keep]


def _interpolate(samples: Pcm, places: Floats) -> Pcm:
    """Read samples at fractional places by Catmull-Rom splines, whose error on speech is below -60 dB."""
    whole = np.floor(places).astype(np.int64)
    t = (places - whole).astype(np.float32)
    last = len(samples) - 1
    p0, p1, p2, p3 = (samples[np.clip(whole + shift, 0, last)].astype(np.float32) for shift in (-1, 0, 1, 2))
    made = p1 + 0.5 * t * (
        p2 - p0 + t * (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3 + t * (3.0 * (p1 - p2) + p3 - p0))
    )
    return np.asarray(np.clip(np.round(made), -FULL_SCALE, FULL_SCALE - 1), dtype=np.int16)


class TrackAudio:
    """One recorded track, decoded, at its place in the call; read it in order of time.

    Args:
        packets: (ticks at 48 kHz, Opus payload) in order, as a track's file gives them.
        start: Seconds of call time at which tick 0 lies.
        rate: Samples per second to decode at; one of `opus.RATES`.
        bend: What to do about the sender's clock.

    Attributes:
        ticks: Ticks of audio that were read so far.
    """

    def __init__(
        self, packets: Iterable[tuple[int, bytes]], start: float, rate: int, bend: Bend | None = None
    ) -> None:
        self.ticks = 0
        self._packets = iter(packets)
        self._zero = round(start * SAMPLE_RATE)
        self._rate = rate
        self._bend = bend or Bend()
        self._decoder = Decoder(rate)
        self._run: _Run | None = None
        self._next: tuple[int, bytes] | None = next(self._packets, None)
        self._tick = 0
        self._moved = 0.0
        self._moving = False
        self._done = 0

    def read(self, begin: int, end: int) -> Pcm | None:
        """Give the samples of call time from `begin` to `end`, or None if there is nothing to hear.

        Args:
            begin: Samples at the rate wanted, not before the `end` of the last reading.
            end: Exclusive.

        Returns:
            int16, shape (end - begin,).
        """
        made: Pcm | None = None
        while True:
            run = self._run or self._begin_run()
            if run is None:
                return made
            while self._continues() and run.end < end + _MARGIN:
                self._extend(run)
            low, high = max(begin, run.begin), min(end, run.end)
            if high > low:
                made = np.zeros(end - begin, dtype=np.int16) if made is None else made
                made[low - begin : high - begin] = run.render(low, high)
            if run.end > end or self._continues():
                run.forget(end)
                return made
            self._done, self._run = max(self._done, run.end), None

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self._run is None and self._next is None

    def drain(self) -> None:
        """Read what is left without decoding it, so that `ticks` counts everything."""
        while self._next is not None:
            self.ticks += packet_ticks(self._next[1])
            self._next = next(self._packets, None)

    def _begin_run(self) -> _Run | None:
        if self._next is None:
            return None
        self._tick = self._next[0]
        raw = round((self._tick + self._zero) * self._rate / SAMPLE_RATE)
        self._moved = float(max(round(self._bend.at(raw / self._rate) * self._rate), self._done - raw))
        self._moving = False
        self._decoder = Decoder(self._rate)
        self._run = _Run(raw + self._moved, raw)
        return self._run

    def _continues(self) -> bool:
        """Whether the next packet belongs to the run at hand."""
        return self._next is not None and self._next[0] - self._tick <= CONCEAL_SECONDS * SAMPLE_RATE

    def _extend(self, run: _Run) -> None:
        assert self._next is not None
        tick, payload = self._next
        if (hole := (tick - self._tick) * self._rate // SAMPLE_RATE) > 0:
            self._append(run, self._decoder.recover(payload, hole))
        self._append(run, self._decoder.decode(payload))
        duration = packet_ticks(payload)
        self._tick = max(self._tick, tick) + duration
        self.ticks += duration
        self._next = next(self._packets, None)

    def _append(self, run: _Run, samples: Pcm) -> None:
        if len(samples):
            self._follow((run.raw[-1] + len(samples)) / self._rate, len(samples))
            run.add(samples, self._moved)

    def _follow(self, position: float, samples: int) -> None:
        """Let the shift follow the sender's clock, no faster than `MAX_BEND`."""
        wanted = self._bend.at(position) * self._rate
        if abs(wanted - self._moved) > DEADBAND_SECONDS * self._rate:
            self._moving = True
        if self._moving:
            most = MAX_BEND * samples
            if abs(wanted - self._moved) <= most:
                # A whole number of samples is copied from here on, not computed.
                self._moved, self._moving = float(round(wanted)), False
            else:
                self._moved += math.copysign(most, wanted - self._moved)


class Mixer:
    """Adds mono blocks up, and counts what had to be clipped."""

    def __init__(self) -> None:
        self.clipped = 0

    def mix(self, parts: Sequence[Pcm], size: int) -> Pcm:
        """Add blocks of one length: int16, shape (size,), silence if there are none."""
        if not parts:
            return np.zeros(size, dtype=np.int16)
        if len(parts) == 1:
            return parts[0]
        total = np.sum(np.stack(parts).astype(np.int32), axis=0)
        clipped = np.clip(total, -FULL_SCALE, FULL_SCALE - 1)
        self.clipped += int(np.count_nonzero(clipped != total))
        return np.asarray(clipped, dtype=np.int16)


def spans(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Divide samples into blocks: (begin, end) of each."""
    return ((at, min(at + size, total)) for at in range(0, total, size))
