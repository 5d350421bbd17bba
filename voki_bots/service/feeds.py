"""What happened in each call, kept for whoever reads it: slow, late, or again after a broken connection.

A feed keeps the last events of one call, once for all readers; a reader is no more than a number in it, so
that nobody's slowness costs memory or anybody else's time. A partial caption is kept only until the next
revision: who reads slowly skips some of them, and never a final.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from voki_bots.bots.bus import Happening
from voki_bots.calls import (
    AnswerReceived,
    CallLeft,
    CandidateReceived,
    OfferReceived,
    UtteranceHeard,
    as_json,
)

KEPT = 2000
"""Events of a call that are kept."""

FEEDS = 2000
"""Calls of which anything is kept, the ended ones among them."""

LINGER = 300.0
"""Seconds that a feed is kept after its call, for readers that come back."""

_UNSAID = (OfferReceived, AnswerReceived, CandidateReceived)
"""These hold addresses and keys of the transport, and nobody outside needs them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a call.

    Attributes:
        number: Rises within the feed.
        kind: The name of the event's class.
        caption: ``<utterance>.<rev>`` of one, else empty.
        body: The whole of it as JSON.
        passing: Whether another revision will follow, so that it is worth nothing later.
    """

    number: int
    kind: str
    caption: str
    body: str
    passing: bool = False


@dataclass(slots=True)
class Reading:
    """A reader's place in a feed.

    Attributes:
        after: The number of the last entry that was read.
        kinds: Names of the classes that are wanted; empty wants all.
        missed: Entries that were gone before they could be read, since they were last asked for.
    """

    after: int = 0
    kinds: frozenset[str] = frozenset()
    missed: int = 0


class Feed:
    """The events of one call, of all bots in it.

    Args:
        tenant: The call's.
        call: Its id.
    """

    def __init__(self, tenant: str, call: str) -> None:
        self.tenant = tenant
        self.call = call
        self.open = 0
        self.ended_at: float | None = None
        self._number = 0
        self._kept: deque[Entry] = deque(maxlen=KEPT)
        self._gone: deque[int] = deque(maxlen=10 * KEPT)
        self._partial: dict[tuple[str, str], Entry] = {}
        self._wakes: set[asyncio.Event] = set()

    @property
    def topic(self) -> str:
        """How it is subscribed to."""
        return f"{self.tenant}/{self.call}"

    @property
    def over(self) -> bool:
        """Whether no bot attends the call any more."""
        return self.open == 0

    def put(self, bot: str, event: Happening, *, at: datetime, now: float) -> Entry | None:
        """Take an event of a bot; give what is kept of it."""
        if isinstance(event, _UNSAID):
            return None
        self._number += 1
        kind = type(event).__name__
        caption = f"{event.id}.{event.rev}" if isinstance(event, UtteranceHeard) else ""
        said = as_json(event)
        body = {
            "id": self._number,
            "type": kind,
            "tenant": self.tenant,
            "call": self.call,
            "bot": bot,
            "at": at.isoformat(timespec="milliseconds"),
            "now": round(now, 3),
            "event": {key: value for key, value in said.items() if key != "type"},
        }
        said_so_far = isinstance(event, UtteranceHeard) and not event.final
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        entry = Entry(self._number, kind, caption, text, said_so_far)
        if isinstance(event, UtteranceHeard):
            self._partial.pop((bot, event.id), None)
        if isinstance(event, UtteranceHeard) and said_so_far:
            self._partial[bot, event.id] = entry
        else:
            if len(self._kept) == KEPT:
                self._gone.append(self._kept[0].number)
            self._kept.append(entry)
        if isinstance(event, CallLeft):
            self._partial = {key: each for key, each in self._partial.items() if key[0] != bot}
        self.wake()
        return entry

    def read(self, reading: Reading, limit: int = 100) -> list[Entry]:
        """Give what a reader has not read, oldest first, and move its place."""
        found = [each for each in (*self._kept, *self._partial.values()) if each.number > reading.after]
        found = sorted(found, key=lambda each: each.number)[:limit]
        if found:
            reading.missed += sum(number > reading.after for number in self._gone)
            reading.after = found[-1].number
        return [each for each in found if not reading.kinds or each.kind in reading.kinds]

    def waiting(self, reading: Reading) -> bool:
        """Whether there is something that a reader has not read."""
        return self._number > reading.after

    def place_of(self, last: str) -> int:
        """Say after which number a reader goes on that has read `last`: a number, or a caption.

        What is not known any more, or never was, reads everything anew: twice is better than never.
        """
        if not last:
            return 0
        if last.isdecimal() and len(last) < 16:
            return int(last) if int(last) <= self._number else 0
        utterance, _, _ = last.rpartition(".")
        entries = [*self._kept, *self._partial.values()]
        exact = [each.number for each in entries if each.caption == last]
        # Of a partial that was replaced meanwhile the next revision is what was not read.
        same = [each.number for each in entries if utterance and each.caption.startswith(f"{utterance}.")]
        return max(exact, default=min(same, default=1) - 1)

    def listen(self, wake: asyncio.Event) -> None:
        """Set an event whenever something happens, until `leave`."""
        self._wakes.add(wake)

    def leave(self, wake: asyncio.Event) -> None:
        """Set it no more."""
        self._wakes.discard(wake)

    def close(self) -> None:
        """One bot less is in the call."""
        self.open -= 1
        self.wake()

    def wake(self) -> None:
        """Let every reader look."""
        for wake in self._wakes:
            wake.set()


@dataclass(slots=True)
class Feeds:
    """The feeds of all calls, running and lately ended.

    Attributes:
        clock: Seconds.
    """

    clock: Callable[[], float]
    _feeds: OrderedDict[tuple[str, str], Feed] = field(default_factory=OrderedDict)

    def open(self, tenant: str, call: str) -> Feed:
        """A bot comes to a call."""
        self._forget()
        feed = self._feeds.setdefault((tenant, call), Feed(tenant, call))
        self._feeds.move_to_end((tenant, call))
        feed.open += 1
        feed.ended_at = None
        return feed

    def close(self, feed: Feed) -> None:
        """A bot has left a call, and everything of it is in the feed."""
        feed.close()
        if feed.over:
            feed.ended_at = self.clock()

    def get(self, tenant: str, call: str) -> Feed | None:
        """The feed of a call, if there is one."""
        self._forget()
        return self._feeds.get((tenant, call))

    def all(self) -> Iterable[Feed]:
        """Every feed there is."""
        return tuple(self._feeds.values())

    def _forget(self) -> None:
        now = self.clock()
        over = [key for key, feed in self._feeds.items() if feed.ended_at is not None]
        late = [key for key in over if now - (self._feeds[key].ended_at or 0.0) > LINGER]
        excess = len(self._feeds) - FEEDS
        for key in dict.fromkeys([*late, *over[: max(0, excess)]]):
            del self._feeds[key]


def described(entry: Entry) -> dict[str, Any]:
    """Read an entry's body back."""
    found: dict[str, Any] = json.loads(entry.body)
    return found
