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

from voki_bots.errors import ConnectionLostError, JoinRefusedError, ProtocolError, ReplyTimeoutError
from voki_bots.signalling import wire
from voki_bots.signalling.membership import (
    ChannelEvent,
    Closed,
    Errored,
    Happened,
    HeartbeatMissed,
    Joined,
    Noticed,
    Output,
    Push,
    Received,
    Reply,
    State,
    Subscription,
    may_try_again,
    reason_of,
)
from voki_bots.signalling.replies import Replies
from voki_bots.signalling.wire import Message

MAX_BUFFER = 1000
"""Pushes that may wait for a channel to be joined."""


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
        self.open = False
        self.version = wire.V2
        self._heartbeat = heartbeat
        self._window = max(heartbeat, 1.5 * timeout)  # longer than a join, which holds heartbeats up
        self._timeout = timeout
        self._rejoin = tuple(rejoin)
        self._spread = spread
        self._subscriptions: list[Subscription] = []
        self._heartbeat_ref: str | None = None
        self._heartbeat_at = inf
        self._heartbeat_until = inf
        self._refs = 0
        self._frames: list[str | bytes] = []
        self._events: list[Output] = []
        self._replies = Replies(lambda settled: self._events.append(settled))

    # ------------------------------------------------------------ the socket tells

    def opened(self, version: str, now: float) -> None:
        """A socket opened, speaking serializer `version`: every channel that wants to be joined joins."""
        self.open, self.version = True, version
        self._heartbeat_ref, self._heartbeat_at = None, now + self._heartbeat
        for subscription in list(self._subscriptions):
            if subscription.state in (State.JOINING, State.ERRORED):
                subscription.tries = 0
                self._send_join(subscription, now)

    def lost(self, reason: str, now: float) -> None:
        """The socket is gone, or could not be opened. What was sent and not answered fails now."""
        self.open = False
        self._frames.clear()
        self._heartbeat_ref, self._heartbeat_at, self._heartbeat_until = None, inf, inf
        for subscription in list(self._subscriptions):
            if subscription.state in (State.JOINING, State.JOINED):
                self._fault(subscription, reason, now)
            elif subscription.state is State.LEAVING:
                self._close(subscription, "left")
            subscription.rejoin_at, subscription.tries = inf, 0
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
            self.version = wire.version_of(data)
        if message.event == wire.REPLY:
            self._replied(message, now)
        elif message.event in (wire.CLOSE, wire.ERROR):
            self._ended(message, now)
        else:
            for subscription in self._subscriptions:
                if (
                    subscription.topic == message.topic
                    and subscription.state is State.JOINED
                    and message.join_ref in (None, subscription.join_ref)
                ):
                    self._happened(subscription, Received(message.event, message.payload))
                    break

    def wake(self, now: float) -> None:
        """Do what is due: heartbeat, timeouts, rejoins."""
        self._replies.wake(now)
        for subscription in list(self._subscriptions):
            self._wake(subscription, now)
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
        frames, self._frames = self._frames, []
        return frames

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
        if subscription.state is not State.NEW:
            raise ProtocolError(f"{subscription.topic!r} can be joined once; make a new channel")
        for other in list(self._subscriptions):
            if other.topic == subscription.topic and other.state is not State.LEAVING:
                self._close(other, "replaced by a newer channel of the same topic")
        ticket = self._replies.ticket()
        subscription.waiting = Push(wire.JOIN, None, ticket, now, now + self._timeout)
        subscription.state = State.JOINING
        self._subscriptions.append(subscription)
        if self.open:
            self._send_join(subscription, now)
        return ticket

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
        self._submit(subscription, Push(event, payload, ticket, now, limit, subscription), now)
        return ticket

    def send(self, subscription: Subscription, event: str, payload: object, now: float) -> None:
        """Send, or buffer until the channel is joined, however long; the reply is of no interest.

        Raises:
            ProtocolError: The channel was never joined.
            ConnectionLostError: The channel is closed, or too much is waiting already.
        """
        if subscription.state in (State.LEAVING, State.CLOSED):
            raise ConnectionLostError(f"{subscription.topic!r} is closed")
        self._submit(subscription, Push(event, payload, None, now, inf, subscription), now)

    def leave(self, subscription: Subscription, now: float) -> int:
        """Leave; settles by reply, by ``phx_close`` or by timeout, whatever comes first, always with ok."""
        ticket = self._replies.ticket()
        subscription.leavers.append(ticket)
        if subscription.state is State.LEAVING:
            return ticket
        if not self.open or subscription.join_ref is None:
            self._close(subscription, "left")
            return ticket
        join_ref = subscription.join_ref
        self._replies.fail(subscription, "left")
        self._drop_buffer(subscription, "left")
        self._replies.settle(subscription.waiting, ConnectionLostError(f"{subscription.topic!r} was left"))
        subscription.waiting, subscription.state = None, State.LEAVING
        subscription.leave_until = now + self._timeout
        ref = self._write(join_ref, subscription.topic, wire.LEAVE, {})
        self._replies.await_reply(ref, Push(wire.LEAVE, None, None, now, inf, subscription))
        return ticket

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
        for subscription in self._subscriptions:
            subscription.buffer = [push for push in subscription.buffer if push.ticket != ticket]
            subscription.leavers = [leaver for leaver in subscription.leavers if leaver != ticket]
            if subscription.waiting and subscription.waiting.ticket == ticket:
                subscription.waiting = None

    def release(self, subscription: Subscription, reason: str, now: float) -> None:
        """Let go of a channel that another connection is to `adopt`.

        What was sent and not answered fails, as when the socket is lost; what is buffered stays with it.
        """
        if subscription.state in (State.JOINED, State.JOINING):
            self._fault(subscription, reason, now)
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def adopt(self, subscription: Subscription) -> dict[int, int]:
        """Take a channel that another connection has released; `rejoin` joins it.

        Returns:
            The new tickets of what is buffered, by the old ones.
        """
        renewed: dict[int, int] = {}
        for push in (*subscription.buffer, subscription.waiting):
            if push is not None and push.ticket is not None:
                push.ticket = renewed[push.ticket] = self._replies.ticket()
        subscription.rejoin_at, subscription.tries = inf, 0
        self._subscriptions.append(subscription)
        return renewed

    def rejoin(self, now: float) -> None:
        """Join at once what waits to be joined again."""
        for subscription in list(self._subscriptions):
            if self.open and subscription.state is State.ERRORED:
                subscription.tries = 0
                self._send_join(subscription, now)

    def close(self, reason: str, now: float) -> None:
        """End for good: every channel closes."""
        self.lost(reason, now)
        for subscription in list(self._subscriptions):
            self._close(subscription, reason)

    def __len__(self) -> int:
        """How many commands wait for an answer; 0 when nothing is remembered."""
        return len(self._replies) + sum(len(s.buffer) + (s.waiting is not None) for s in self._subscriptions)

    # ------------------------------------------------------------ inside

    def _submit(self, subscription: Subscription, push: Push, now: float) -> None:
        state = subscription.state
        if state is State.NEW:
            raise ProtocolError(f"{push.event!r} was pushed to {subscription.topic!r} before it was joined")
        if state in (State.LEAVING, State.CLOSED):
            self._replies.settle(push, ConnectionLostError(f"{subscription.topic!r} is closed"))
        elif state is State.JOINED:
            self._send_push(subscription, push, now)
        elif len(subscription.buffer) >= MAX_BUFFER:
            raise ConnectionLostError(f"{MAX_BUFFER} messages wait for {subscription.topic!r} to be joined")
        else:
            wire.encode(
                Message(None, None, subscription.topic, push.event, push.payload)
            )  # refused now, not later
            subscription.buffer.append(push)

    def _send_push(self, subscription: Subscription, push: Push, now: float) -> None:
        ref = self._write(subscription.join_ref, subscription.topic, push.event, push.payload)
        push.payload = None
        if push.ticket is None:
            push.deadline = now + self._timeout  # only to notice that it was refused
        self._replies.await_reply(ref, push)

    def _send_join(self, subscription: Subscription, now: float) -> None:
        params = dict(subscription.params())
        ref = str(self._refs + 1)
        try:
            self._write(ref, subscription.topic, wire.JOIN, params)
        except ProtocolError as error:
            self._replies.settle(subscription.waiting, error)
            subscription.waiting = None
            self._close(subscription, str(error))
            return
        subscription.state, subscription.join_ref, subscription.rejoin_at = State.JOINING, ref, inf
        subscription.attempt_until = now + self._timeout
        self._replies.await_reply(ref, Push(wire.JOIN, None, None, now, inf, subscription))

    def _beat(self, ticket: int | None, now: float) -> str:
        ref = self._write(None, wire.HEARTBEAT_TOPIC, wire.HEARTBEAT, {})
        self._replies.await_reply(ref, Push(wire.HEARTBEAT, None, ticket, now, now + self._window))
        return ref

    def _write(self, join_ref: str | None, topic: str, event: str, payload: object) -> str:
        self._refs += 1
        ref = str(self._refs)
        self._frames.append(wire.encode(Message(join_ref, ref, topic, event, payload), self.version))
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
            self._join_replied(push.subscription, reply, now)
        elif push.event == wire.LEAVE and push.subscription is not None:
            self._close(push.subscription, "left")
        elif push.ticket is None and reply.status == "error":
            self._events.append(
                Noticed(f"{push.event!r} was refused: {reason_of(reply.response, 'no reason')}")
            )
        else:
            self._replies.settle(push, reply)

    def _join_replied(self, subscription: Subscription, reply: Reply, now: float) -> None:
        if reply.status == "ok":
            again, subscription.joined_before = subscription.joined_before, True
            subscription.state, subscription.attempt_until = State.JOINED, inf
            subscription.tries = subscription.refusals = 0
            self._replies.settle(subscription.waiting, reply)
            subscription.waiting = None
            self._happened(subscription, Joined(reply.response, again))
            waiting, subscription.buffer = subscription.buffer, []
            for push in waiting:
                if push.deadline > now:
                    self._send_push(subscription, push, now)
                else:
                    self._replies.expire(push, now)
            return
        reason = reason_of(reply.response, "no reason was given")
        subscription.refusals += 1
        if may_try_again(subscription, reason):
            self._fault(subscription, reason, now)
            return
        self._replies.settle(subscription.waiting, JoinRefusedError(subscription.topic, reason))
        subscription.waiting = None
        self._close(subscription, f"the join was refused: {reason}")

    def _ended(self, message: Message, now: float) -> None:
        join_ref = message.join_ref or message.ref  # version 1 has no join_ref, but gives the same as ref
        alive = (State.JOINED, State.LEAVING)
        for subscription in self._subscriptions:
            if subscription.topic != message.topic:
                continue
            if subscription.state in alive if join_ref is None else subscription.join_ref == join_ref:
                break
        else:
            return
        if subscription.state is State.LEAVING:
            self._close(subscription, "left")
        elif message.event == wire.CLOSE:
            self._close(subscription, reason_of(message.payload, "closed by the platform"))
        elif subscription.state in (State.JOINED, State.JOINING):
            self._fault(subscription, reason_of(message.payload, "channel error"), now)

    def _fault(self, subscription: Subscription, reason: str, now: float) -> None:
        """Not joined any more, or not yet: fail what was sent, say so once, and plan the rejoin."""
        self._replies.fail(subscription, reason)
        subscription.state, subscription.join_ref = State.ERRORED, None
        subscription.attempt_until = subscription.rejoin_at = inf
        if self.open:
            subscription.rejoin_at = now + self._spread(
                self._rejoin[min(subscription.tries, len(self._rejoin) - 1)]
            )
            subscription.tries += 1
        self._happened(subscription, Errored(reason))

    def _close(self, subscription: Subscription, reason: str) -> None:
        was, subscription.state = subscription.state, State.CLOSED
        self._replies.fail(subscription, reason)
        self._drop_buffer(subscription, reason)
        self._replies.settle(subscription.waiting, ConnectionLostError(f"{subscription.topic!r}: {reason}"))
        subscription.waiting, subscription.join_ref = None, None
        subscription.rejoin_at = subscription.attempt_until = subscription.leave_until = inf
        for ticket in subscription.leavers:
            self._replies.conclude(ticket, Reply("ok", None))
        subscription.leavers.clear()
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if was is not State.CLOSED:
            self._happened(subscription, Closed(reason))

    def _drop_buffer(self, subscription: Subscription, reason: str) -> None:
        for push in subscription.buffer:
            self._replies.settle(
                push, ConnectionLostError(f"{push.event!r} was not sent: {reason}", reason=reason)
            )
        subscription.buffer.clear()

    def _wake(self, subscription: Subscription, now: float) -> None:
        expired = [push for push in subscription.buffer if push.deadline <= now]
        if expired:
            subscription.buffer = [push for push in subscription.buffer if push.deadline > now]
            for push in expired:
                self._replies.expire(push, now)
        waiting = subscription.waiting
        if waiting is not None and waiting.deadline <= now:
            subscription.waiting = None
            waited = round(now - waiting.since, 3)
            unconnected = ConnectionLostError(
                f"{subscription.topic!r} was not joined: no connection for {waited} s"
            )
            self._replies.settle(waiting, ReplyTimeoutError(wire.JOIN, waited) if self.open else unconnected)
        if subscription.attempt_until <= now:
            join_ref = subscription.join_ref
            self._fault(subscription, "the join timed out", now)
            self._write(join_ref, subscription.topic, wire.LEAVE, {})  # in case it was only slow
        elif subscription.leave_until <= now:
            self._close(subscription, "left")
        elif subscription.rejoin_at <= now and self.open:
            self._send_join(subscription, now)

    def _deadlines(self) -> Iterator[float]:
        yield self._heartbeat_until if self._heartbeat_ref is not None else self._heartbeat_at
        yield from self._replies.deadlines()
        for subscription in self._subscriptions:
            yield min(subscription.attempt_until, subscription.leave_until, subscription.rejoin_at)
            if subscription.waiting is not None:
                yield subscription.waiting.deadline
            for push in subscription.buffer:
                yield push.deadline

    def _happened(self, subscription: Subscription, event: ChannelEvent) -> None:
        self._events.append(Happened(subscription, event))
