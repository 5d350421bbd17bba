"""While a channel moves from one socket to another, both tell of it: each event counts once. Pure.

Broadcasts carry no ids, so the same event is known by its name and its payload. What both sockets were told
comes twice, in either order; what was told before the new one joined, or after the old one left, comes once.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from voki_bots.signalling.membership import ChannelEvent, Closed, Errored, Joined, Received, Subscription


class Overlap:
    """The move of one channel.

    Args:
        old: The channel on the socket that it leaves.
        away: Whether it is not joined there just now.
    """

    def __init__(self, old: Subscription, *, away: bool = False) -> None:
        self._old = old
        self._away = away
        self._switched = False
        self._unmatched: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}

    def switched(self) -> None:
        """The new socket has joined: from now on it says what becomes of the channel."""
        self._switched = True

    def admit(self, subscription: Subscription, event: ChannelEvent) -> ChannelEvent | None:
        """What the channel's user is to be told; None if it is a twin, or none of his business."""
        from_old = subscription is self._old
        match event:
            case Received():
                return None if self._is_twin(from_old, event) else event
            case Joined() if not from_old:
                again, self._away = self._away, False
                return replace(event, again=True) if again or self._switched else None
            case Joined() | Errored() | Closed() if from_old and not self._switched:
                self._away = isinstance(event, Errored)
                return event
            case Errored() | Closed() if not from_old and self._switched:
                return event
            case _:
                return None

    def _is_twin(self, from_old: bool, event: Received) -> bool:
        try:
            name = f"{event.event}\0{json.dumps(event.payload, sort_keys=True, default=repr)}"
        except (ValueError, TypeError, RecursionError):
            return False
        if self._unmatched[not from_old][name] > 0:
            self._unmatched[not from_old][name] -= 1
            return True
        self._unmatched[from_old][name] += 1
        return False
