"""The Phoenix channels of one socket as a state machine: joins, refs, replies, heartbeat, deadlines.

Sans-IO: messages come in by `Connection.receive`, commands by its methods, each with the time as an argument
(seconds of any monotonic clock); what to write comes out of `Connection.outgoing`, what happened out of
`Connection.events`, and `Connection.next_wake` says when to call `Connection.wake` if nothing comes before.

Rules that are easy to get wrong, and are kept here: replies are matched by ref alone (the join_ref of an
"unmatched topic" reply is null); broadcasts carry no join_ref; after a duplicate join the reply to the new
one comes before the ``phx_close`` of the old one; nothing that was sent to a channel that crashed, closed or
was left is ever answered, so it fails at once; and a join holds up the replies to heartbeats of the same
socket, so the heartbeat's window is longer than a join may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

from voki_bots.errors import ConnectionLostError, ProtocolError
from voki_bots.signalling import wire
from voki_bots.signalling.life import Lives
from voki_bots.signalling.membership import (
    Happened,
    HeartbeatMissed,
    Noticed,
    Output,
    Push,
    Received,
    Reply,
    State,
    Subscription,
    reason_of,
)
from voki_bots.signalling.replies import Outbox, Replies
from voki_bots.signalling.wire import Message


class Connection:
    """All channels of one socket, across its reconnects.

    Args:
        heartbeat: Seconds between heartbeats (Q3: below 30).
        timeout: Seconds that a join, a push or a leave may take.
        rejoin: Seconds to wait before the first, second, … rejoin of a channel; the last is repeated.
        spread: Changes a delay a little, so that a fleet does not rejoin in step.
    """

    def __init__(
        self,
        *,
        heartbeat: float = 20.0,
        timeout: float = 10.0,
        rejoin: Sequence[float] = (1, 2, 5, 10),
        spread: Callable[[float], float] = lambda delay: delay,
    ) -> None:
        self._heartbeat = heartbeat
        self._window = max(heartbeat, 1.5 * timeout)  # longer than a join, which holds heartbeats up
        self._timeout = timeout
        self._heartbeat_ref: str | None = None
        self._heartbeat_at = inf
        self._heartbeat_until = inf
        self._events: list[Output] = []
        self._outbox = Outbox()
        self._replies = Replies(lambda settled: self._events.append(settled))
        self._lives = Lives(
            self._outbox,
            self._replies,
            lambda subscription, event: self._events.append(Happened(subscription, event)),
            timeout=timeout,
            rejoin=rejoin,
            spread=spread,
        )

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._lives.open

    @property
    def version(self) -> str:
        """The version of the serializer that we write."""
        return self._outbox.version

    # ------------------------------------------------------------ the socket tells

    def opened(self, version: str, now: float) -> None:
        """A socket opened, speaking serializer `version`: every channel that wants to be joined joins."""
        self._lives.open, self._outbox.version = True, version
        self._heartbeat_ref, self._heartbeat_at = None, now + self._heartbeat
        self._lives.rejoin(now, State.JOINING, State.ERRORED)

    def lost(self, reason: str, now: float) -> None:
        """The socket is gone, or could not be opened. What was sent and not answered fails now."""
        self._outbox.take()
        self._heartbeat_ref, self._heartbeat_at, self._heartbeat_until = None, inf, inf
        self._lives.lost(reason, now)
        self._replies.fail(None, reason)

    def receive(self, data: str | bytes, now: float) -> None:
        """Take one message from the socket. What cannot be understood is noticed and skipped."""
        if not self.open:
            return
        try:
            message = wire.decode(data)
        except ProtocolError as error:
            self._events.append(Noticed(f"skipped what the platform sent: {error}"))
            return
        if isinstance(data, str):
            self._outbox.version = wire.version_of(data)
        if message.event == wire.REPLY:
            self._replied(message, now)
        elif message.event in (wire.CLOSE, wire.ERROR):
            self._lives.ended(message, now)
        else:
            for subscription in self._lives.all:
                if (
                    subscription.topic == message.topic
                    and subscription.state is State.JOINED
                    and message.join_ref in (None, subscription.join_ref)
                ):
                    self._events.append(Happened(subscription, Received(message.event, message.payload)))
                    break

    def wake(self, now: float) -> None:
        """Do what is due: heartbeat, timeouts, rejoins."""
        self._replies.wake(now)
        for subscription in list(self._lives.all):
            self._lives.wake(subscription, now)
        if self._heartbeat_ref is not None and self._heartbeat_until <= now:
            self.lost("heartbeat_timeout", now)
            self._events.append(HeartbeatMissed())
        elif self._heartbeat_ref is None and self._heartbeat_at <= now:
            self._heartbeat_ref = self._beat(None, now)
            self._heartbeat_at, self._heartbeat_until = now + self._heartbeat, now + self._window

    def next_wake(self) -> float:
        """When `wake` must be called if nothing happens before; infinity for never."""
        return min(self._deadlines(), default=inf)

    def outgoing(self) -> list[str | bytes]:
        """Take what must be written to the socket, in this order."""
        return self._outbox.take()

    def events(self) -> list[Output]:
        """Take what happened, in this order."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ the user asks

    def subscribe(self, topic: str, params: Callable[[], Mapping[str, object]] = dict) -> Subscription:
        """Make a channel; nothing is sent before it is joined."""
        return Subscription(topic, params)

    def join(self, subscription: Subscription, now: float) -> int:
        """Join, now or when the socket opens; an older channel of the same topic is closed.

        The ticket settles with the first reply that is ok, with a `JoinRefusedError` (then the channel is
        closed), or after the timeout, counted from now, with an error that is retryable: then the channel
        goes on trying until it is left.

        Raises:
            ProtocolError: This channel was joined before.
        """
        return self._lives.join(subscription, now)

    def push(
        self,
        subscription: Subscription,
        event: str,
        payload: object,
        now: float,
        timeout: float | None = None,
    ) -> int:
        """Send, or buffer until the channel is joined; the ticket settles with the reply.

        The timeout runs from now, also in the buffer; a push that timed out there is never sent.

        Raises:
            ProtocolError: The channel was never joined, or the payload is not JSON.
            ConnectionLostError: Too much is waiting already.
        """
        ticket = self._replies.ticket()
        limit = now + (self._timeout if timeout is None else timeout)
        self._lives.submit(subscription, Push(event, payload, ticket, now, limit, subscription), now)
        return ticket

    def send(self, subscription: Subscription, event: str, payload: object, now: float) -> None:
        """Send, or buffer until the channel is joined, however long; the reply is of no interest.

        Raises:
            ProtocolError: The channel was never joined.
            ConnectionLostError: The channel is closed, or too much is waiting already.
        """
        if subscription.state in (State.LEAVING, State.CLOSED):
            raise ConnectionLostError(f"{subscription.topic!r} is closed")
        self._lives.submit(subscription, Push(event, payload, None, now, inf, subscription), now)

    def leave(self, subscription: Subscription, now: float) -> int:
        """Leave; settles by reply, by ``phx_close`` or by timeout, whatever comes first, always with ok."""
        return self._lives.leave(subscription, now)

    def ping(self, now: float) -> int:
        """Send a heartbeat out of turn; the ticket settles when it is answered."""
        ticket = self._replies.ticket()
        if self.open:
            self._beat(ticket, now)
        else:
            self._replies.conclude(ticket, ConnectionLostError("the socket is not connected"))
        return ticket

    def cancel(self, ticket: int) -> None:
        """Forget who waited; a late reply is ignored, and what was not sent yet never will be."""
        self._replies.cancel(ticket)
        self._lives.cancel(ticket)

    def release(self, subscription: Subscription, reason: str, now: float) -> None:
        """Let go of a channel that another connection is to `adopt`.

        What was sent and not answered fails, as when the socket is lost; what is buffered stays with it.
        """
        self._lives.release(subscription, reason, now)

    def adopt(self, subscription: Subscription) -> dict[int, int]:
        """Take a channel that another connection has released; `rejoin` joins it.

        Returns:
            The new tickets of what is buffered, by the old ones.
        """
        return self._lives.adopt(subscription)

    def rejoin(self, now: float) -> None:
        """Join at once what waits to be joined again."""
        self._lives.rejoin(now, State.ERRORED)

    def close(self, reason: str, now: float) -> None:
        """End for good: every channel closes."""
        self.lost(reason, now)
        for subscription in list(self._lives.all):
            self._lives.close(subscription, reason)

    def __len__(self) -> int:
        """How many commands wait for an answer; 0 when nothing is remembered."""
        return len(self._replies) + len(self._lives)

    # ------------------------------------------------------------ inside

    def _beat(self, ticket: int | None, now: float) -> str:
        ref = self._outbox.write(None, wire.HEARTBEAT_TOPIC, wire.HEARTBEAT, {})
        self._replies.await_reply(ref, Push(wire.HEARTBEAT, None, ticket, now, now + self._window))
        return ref

    def _replied(self, message: Message, now: float) -> None:
        push = self._replies.answered(message.ref)
        if push is None:
            return
        body = message.payload if isinstance(message.payload, Mapping) else {}
        reply = Reply(str(body.get("status", "error")), body.get("response"))
        if message.ref == self._heartbeat_ref:
            self._heartbeat_ref = None
        elif push.event == wire.JOIN and push.subscription is not None:
            self._lives.join_replied(push.subscription, reply, now)
        elif push.event == wire.LEAVE and push.subscription is not None:
            self._lives.close(push.subscription, "left")
        elif push.ticket is None and reply.status == "error":
            self._events.append(
                Noticed(f"{push.event!r} was refused: {reason_of(reply.response, 'no reason')}")
            )
        else:
            self._replies.settle(push, reply)

    def _deadlines(self) -> Iterator[float]:
        yield self._heartbeat_until if self._heartbeat_ref is not None else self._heartbeat_at
        yield from self._replies.deadlines()
        yield from self._lives.deadlines()
