"""One track on its way through a call's pipeline, and who takes it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from voki_bots.calls import GapCause, Track
from voki_bots.media.digits import Keypad
from voki_bots.media.reorder import Ordered, Reorder
from voki_bots.media.rtp import TIMESTAMP_BITS, Received, Unwrapper, distance
from voki_bots.media.tap import Tap
from voki_bots.media.timeline import Timeline
from voki_bots.media.video import KeyRequests

STRAGGLER_SECONDS = 0.3
"""What comes on a line so soon after it was taken from somebody is theirs, if it goes on with their clock."""


class Flow:
    """One track on its way."""

    __slots__ = (
        "carried",
        "ended",
        "handed_on",
        "keypad",
        "keys",
        "level",
        "order",
        "pending",
        "received",
        "sinks",
        "stamp",
        "superseded",
        "timeline",
        "track",
        "unwrap",
    )

    def __init__(self, track: Track, timeline: Timeline[Ordered], patience: float, now: float) -> None:
        self.track = track
        self.timeline = timeline
        self.order = Reorder(patience)
        self.unwrap = Unwrapper(TIMESTAMP_BITS)
        self.keys = KeyRequests() if track.kind == "video" else None
        self.sinks: list[Subscription] = []
        self.received = now
        self.stamp = 0
        self.level: int | None = None
        self.carried = 0
        self.superseded = False
        self.ended = False
        self.handed_on: float | None = None
        self.pending: GapCause | None = None
        self.keypad = Keypad()

    @property
    def last(self) -> float:
        """Seconds of call time up to which it is accounted for."""
        return self.timeline.cursor / self.timeline.rate

    def time_of(self, came: Received, zero: float) -> float:
        """Say at which call time a packet's timestamp lies; when it came, where that is not known."""
        last, rate = self.unwrap.last, self.timeline.rate
        if last is not None and self.timeline.audio and came.clock_rate == rate:
            ahead = distance(came.timestamp, last & 0xFFFFFFFF, TIMESTAMP_BITS)
            return (last + ahead + self.timeline.offset) / rate
        return came.arrival - zero

    def straggles(self, came: Received) -> bool:
        """Whether a packet still belongs to whoever the line was taken from."""
        if self.handed_on is None or came.arrival - self.handed_on > STRAGGLER_SECONDS:
            return False
        step = distance(came.timestamp, self.stamp, TIMESTAMP_BITS)
        return abs(step) < STRAGGLER_SECONDS * 2 * came.clock_rate


class Subscription:
    """A plugin's subscription to packets or frames; the `Listening` that it is given."""

    def __init__(
        self,
        tap: Tap,
        selects: Callable[[Track], bool],
        kind: str,
        *,
        decoded: bool,
        ended: Callable[[Subscription], None],
    ) -> None:
        self._ended = ended
        self.tap = tap
        self.decoded = decoded
        self._selects = selects
        self._kind = kind

    def wants(self, track: Track) -> bool:
        """Whether it takes this track as things are now."""
        return (self._kind in ("all", track.kind)) and self._selects(track)

    @property
    def dropped(self) -> int:
        """Items that were lost because the sink did not keep up."""
        return self.tap.dropped

    async def drain(self) -> None:
        """Wait until everything that came so far has been written and flushed."""
        await self.tap.drain()

    def close(self) -> None:
        """Take no more; what was handed over is still written, then the sink is closed."""
        self._ended(self)
        self.tap.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
