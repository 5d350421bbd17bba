"""Where the packets of one track lie in the call, and what lies between them. Pure.

Everything is placed by its RTP timestamp, never by when it arrived. Arrival only says where the first
packet lies, and where to begin anew when a sender's timestamps jump. The map is piecewise: within a piece,
call time = timestamp + offset.

Invariant: for each track, the durations of what was placed plus the gaps equal the span from `origin` to
the end, to the tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from voki_bots.calls import GapCause

T = TypeVar("T")

BURST_SECONDS = 0.6
"""A packet this much later than its place is either a burst after a stall or a sender that stood still."""

DECISION_SECONDS = 0.5
"""How long packets are held back to tell the two apart: a burst may come slowly where a machine is busy."""

CAUGHT_UP_SECONDS = 0.1
"""Media that arrive so much faster than they last are a burst; ordinary jitter over the decision is less."""

FIRST_SECONDS = 0.1
"""How long the first packets of all are held back at least to find their place."""

RESTLESS_SECONDS = 1.0
"""How long at most, on a path whose delay varies so much that most of them do not agree."""

AGREEMENT_SECONDS = 0.01
"""So close to the least delay are three of four where that is the delay of the path and no accident."""

AHEAD_SECONDS = 1.0
"""A packet cannot arrive before it was spoken: this much too early means that the timestamps jumped."""

DTX_SECONDS = 1.0
"""Discontinuous transmission sends something every 400 ms (RFC 7587 section 3.1.3); longer is mute."""

HOLD_SLACK_SECONDS = 0.5
"""Around a hold, silence shorter than this counts as part of the hold."""

MAX_PACKET_SECONDS = 0.12
"""The longest Opus packet (RFC 6716 section 2.1.4)."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A span without audio, in ticks of call time; `end` is exclusive."""

    start: int
    end: int
    cause: GapCause


@dataclass(slots=True, eq=False)
class Placed(Generic[T]):
    """Something with its place: ticks of call time at which it starts, and ticks that it lasts."""

    item: T
    start: int
    duration: int


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    timestamp: int
    duration: int
    arrival: int
    lost: int
    item: T


class Timeline(Generic[T]):
    """Maps one track's unwrapped RTP timestamps to call time.

    Args:
        rate: RTP ticks per second.
        origin: Seconds of call time from which this track is accounted for.
        opening: Why there is nothing between `origin` and the first packet.
    """

    def __init__(self, rate: int, *, origin: float = 0.0, opening: GapCause = GapCause.LATE_JOIN) -> None:
        self.rate = rate
        self.origin = round(origin * rate)
        self.cursor = self.origin
        self.audio = 0
        self.anchors = 0
        self.overlapped = 0
        self._opening: GapCause | None = opening
        self._offset: int | None = None
        self._late = BURST_SECONDS * rate
        self._ahead = -AHEAD_SECONDS * rate
        self._held: GapCause | None = None
        self._released: tuple[int, GapCause] | None = None
        self._waiting: list[_Waiting[T]] = []

    def place(
        self,
        item: T,
        timestamp: int,
        duration: int,
        arrival: float,
        *,
        lost: int = 0,
        restarted: bool = False,
    ) -> list[Placed[T] | Gap]:
        """Place the next item of the track; they must come in order of their sequence.

        Args:
            item: Anything; it comes back in `Placed`.
            timestamp: Unwrapped RTP timestamp in ticks.
            duration: Ticks that it lasts.
            arrival: Seconds of call time.
            lost: How many packets are missing just before it.
            restarted: The sender began a new numbering: its timestamps mean nothing any more.

        Returns:
            Gaps and placed items in order of time; empty while a jump is being judged.
        """
        at = round(arrival * self.rate)
        entry = _Waiting(timestamp, duration, at, lost, item)
        if self._waiting and not restarted:
            self._waiting.append(entry)
            return self._judge(at)
        if self._offset is None and not self._waiting:
            self._waiting.append(entry)
            return []
        if restarted:
            out = self._decide() if self._waiting else []
            self._anchor(timestamp, at)
            return out + self._settle(entry)
        assert self._offset is not None
        behind = at - (timestamp + self._offset)
        if behind > BURST_SECONDS * self.rate:
            self._waiting.append(entry)
            return []
        if behind < -AHEAD_SECONDS * self.rate:
            self._anchor(timestamp, at)
        return self._settle(entry)

    def follow(self, timestamp: int, duration: int, arrival: float) -> int | None:
        """Place what directly follows the last item, in time and on its way: the usual case.

        Args:
            timestamp: RTP timestamp as it came, 32 bits.
            duration: Ticks that it lasts; not 0.
            arrival: Seconds of call time.

        Returns:
            Ticks of call time at which it starts; None if it must be given to `place`.
        """
        start = self.cursor
        if self._offset is None or self._held is not None or self._waiting or self._released is not None:
            return None
        behind = arrival * self.rate - start
        if (
            (start - self._offset) & 0xFFFFFFFF != timestamp
            or not self._ahead <= behind <= self._late
            or self._opening is not None
        ):
            return None
        self.cursor = start + duration
        self.audio += duration
        return start

    @property
    def waiting(self) -> bool:
        """Whether something is held back until it can be judged."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """Whether anything has found its place."""
        return self._offset is not None

    @property
    def offset(self) -> int:
        """Call time minus timestamp, in ticks, of what was placed last."""
        return self._offset or 0

    def tick(self, now: float) -> list[Placed[T] | Gap]:
        """Give what was held back long enough; `now` is seconds of call time."""
        return self._judge(round(now * self.rate)) if self._waiting else []

    def hold(self, now: float, cause: GapCause) -> list[Placed[T] | Gap]:
        """Place nothing from now on; what comes while held is gone, and the span becomes a gap."""
        if self._held is not None:
            return []
        out: list[Placed[T] | Gap] = []
        self._waiting.clear()
        at = round(now * self.rate)
        if self._opening is not None:
            self._gap(out, at, self._opening)
        elif at - self.cursor > HOLD_SLACK_SECONDS * self.rate:
            self._gap(out, at, self._silence(at - self.cursor))
        self._released = None
        self._held = cause
        return out

    def release(self, now: float) -> list[Placed[T] | Gap]:
        """Place again; what was spoken before now stays away even if it comes later."""
        if self._held is None:
            return []
        out: list[Placed[T] | Gap] = []
        self._waiting.clear()  # what could not be judged yet came while held, and is gone too
        cause, self._held = self._held, None
        self._gap(out, round(now * self.rate), cause)
        self._released = (self.cursor, cause)
        return out

    def finish(self, end: float, cause: GapCause | None = None) -> list[Placed[T] | Gap]:
        """Account for the track up to `end` (seconds of call time); nothing may follow.

        Args:
            end: Where the track's account ends; never before what was already placed.
            cause: Why there is nothing after the last packet; silence or mute, by its length, if None.
        """
        out: list[Placed[T] | Gap] = []
        while self._waiting:
            out += self._decide()
        at = round(end * self.rate)
        self._gap(out, at, self._held or cause or self._opening or self._silence(at - self.cursor))
        return out

    def _anchor(self, timestamp: int, at: int) -> None:
        self._offset = max(self.cursor, at) - timestamp
        self.anchors += 1

    def _judge(self, at: int) -> list[Placed[T] | Gap]:
        waited = at - self._waiting[0].arrival
        patience = DECISION_SECONDS
        if self._offset is None and waited >= FIRST_SECONDS * self.rate:
            patience = FIRST_SECONDS if self._agreed(waited) else RESTLESS_SECONDS
        if waited >= patience * self.rate or len(self._waiting) > 100:
            return self._decide()
        return []

    def _agreed(self, waited: int) -> bool:
        """Whether most of them are delayed alike; few that come slowly are taken as they are."""
        delays = sorted(entry.arrival - entry.timestamp for entry in self._waiting)
        if len(delays) < 5:
            return waited >= 5 * FIRST_SECONDS * self.rate
        return delays[3 * len(delays) // 4] - delays[0] <= AGREEMENT_SECONDS * self.rate

    def _decide(self) -> list[Placed[T] | Gap]:
        """Tell a burst from a sender whose clock stood still, and place what was held back.

        The first packets of all are held back too: the one that was least delayed on its way says where they
        lie, for the first may have waited for our own loop.

        A burst brings much more media than the time in which it arrives, and its timestamps are right. A
        sender that paused without counting brings media at its own pace, too late by the length of the pause.
        """
        waiting, self._waiting = self._waiting, []
        first, last = waiting[0], waiting[-1]
        if self._offset is None:
            near = [e for e in waiting if 0 <= e.timestamp - first.timestamp <= 2 * self.rate]
            least = min(e.arrival - e.timestamp for e in near)
            self._offset = max(self.cursor - first.timestamp, least)
        media = last.timestamp + last.duration - first.timestamp
        arrived = last.arrival - first.arrival
        late = first.arrival - (first.timestamp + self._offset) > BURST_SECONDS * self.rate
        if late and media - arrived <= CAUGHT_UP_SECONDS * self.rate:
            self._anchor(first.timestamp, first.arrival)
        out: list[Placed[T] | Gap] = []
        for entry in waiting:
            out += self._settle(entry)
        return out

    def _settle(self, entry: _Waiting[T]) -> list[Placed[T] | Gap]:
        assert self._offset is not None
        start = entry.timestamp + self._offset
        out: list[Placed[T] | Gap] = []
        if self._held is not None:
            if self._opening is not None:
                self._gap(out, start, self._opening)
            return out
        if self._released is not None:
            if start < self._released[0]:
                return out
            position, cause = self._released
            if start - position <= HOLD_SLACK_SECONDS * self.rate:
                self._gap(out, start, cause)
            self._released = None
        if start < self.cursor and not entry.duration:
            start = self.cursor  # a picture has no duration, and is never dropped for being behind
        if start < self.cursor:
            if start + entry.duration <= self.cursor:
                self.overlapped += 1
                return out
            self._offset += self.cursor - start
            start = self.cursor
        self._gap(out, start, self._why(start - self.cursor, entry.lost))
        out.append(Placed(entry.item, start, entry.duration))
        self.cursor = start + entry.duration
        self.audio += entry.duration
        return out

    def _gap(self, out: list[Placed[T] | Gap], end: int, cause: GapCause) -> None:
        self._opening = None
        if end > self.cursor:
            out.append(Gap(self.cursor, end, cause))
            self.cursor = end

    def _why(self, ticks: int, lost: int) -> GapCause:
        if self._opening is not None:
            return self._opening
        if lost and ticks <= lost * MAX_PACKET_SECONDS * self.rate:
            return GapCause.LOST
        return self._silence(ticks)

    def _silence(self, ticks: int) -> GapCause:
        return GapCause.DTX if ticks <= DTX_SECONDS * self.rate else GapCause.MUTED
