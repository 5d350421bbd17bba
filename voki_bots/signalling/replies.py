"""What is sent, under which ref, and who waits for which answer. Sans-IO.

Replies are matched by ref alone. Nothing stays here for longer than its deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from voki_bots.errors import ConnectionLostError, ReplyTimeoutError, SignallingError
from voki_bots.signalling import wire
from voki_bots.signalling.membership import Push, Reply, Settled, Subscription
from voki_bots.signalling.wire import Message


class Outbox:
    """What is to be written to the socket. Refs are counted across reconnects (phoenix.js does so too)."""

    def __init__(self) -> None:
        self.version = wire.V2
        self._refs = 0
        self._frames: list[str | bytes] = []

    def write(self, join_ref: str | None, topic: str, event: str, payload: object) -> str:
        """Write a message; returns its ref.

        Raises:
            ProtocolError: It cannot be written.
        """
        self._refs += 1
        ref = str(self._refs)
        self._frames.append(wire.encode(Message(join_ref, ref, topic, event, payload), self.version))
        return ref

    def write_join(self, topic: str, params: object) -> str:
        """Write a join, whose ref is its join_ref too."""
        return self.write(str(self._refs + 1), topic, wire.JOIN, params)

    def take(self) -> list[str | bytes]:
        """Take what was written."""
        frames, self._frames = self._frames, []
        return frames


class Replies:
    """What was sent and is not answered yet, and how it comes out.

    Args:
        tell: Takes each outcome, once for each ticket.
    """

    def __init__(self, tell: Callable[[Settled], None]) -> None:
        self._tell = tell
        self._by_ref: dict[str, Push] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._by_ref)

    def ticket(self) -> int:
        """A new ticket."""
        self._tickets += 1
        return self._tickets

    def await_reply(self, ref: str, push: Push) -> None:
        """Remember a push that was sent under this ref."""
        self._by_ref[ref] = push

    def answered(self, ref: str | None) -> Push | None:
        """Take the push that this ref answers, if it still waits."""
        return self._by_ref.pop(ref, None) if ref is not None else None

    def settle(self, push: Push | None, outcome: Reply | SignallingError) -> None:
        """Say how a push came out, if anybody waits for it."""
        if push is not None and push.ticket is not None:
            self.conclude(push.ticket, outcome)

    def conclude(self, ticket: int, outcome: Reply | SignallingError) -> None:
        """Say how a ticket came out."""
        self._tell(Settled(ticket, outcome))

    def expire(self, push: Push, now: float) -> None:
        """Say that a push came out late."""
        self.settle(push, ReplyTimeoutError(push.event, round(now - push.since, 3)))

    def fail(self, subscription: Subscription | None, reason: str) -> None:
        """Fail what waits for a reply of this channel; None: of any."""
        for ref, push in list(self._by_ref.items()):
            if subscription is None or push.subscription is subscription:
                del self._by_ref[ref]
                self.settle(push, ConnectionLostError(f"no reply to {push.event!r}: {reason}", reason=reason))

    def cancel(self, ticket: int) -> None:
        """Forget who waited; a late reply is ignored."""
        for ref in [ref for ref, push in self._by_ref.items() if push.ticket == ticket]:
            del self._by_ref[ref]

    def wake(self, now: float) -> None:
        """Let expire what is due."""
        for ref, push in list(self._by_ref.items()):
            if push.deadline <= now:
                del self._by_ref[ref]
                self.expire(push, now)

    def deadlines(self) -> Iterator[float]:
        """When something is due."""
        for push in self._by_ref.values():
            yield push.deadline
