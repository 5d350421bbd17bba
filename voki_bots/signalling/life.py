"""What becomes of each channel of a socket: joins, rejoins, faults, leaves, and the pushes that wait for it.

Sans-IO; `channel.Connection` tells it what came and what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf

from voki_bots.errors import ConnectionLostError, JoinRefusedError, ProtocolError, ReplyTimeoutError
from voki_bots.signalling import wire
from voki_bots.signalling.membership import (
    ChannelEvent,
    Closed,
    Errored,
    Joined,
    Push,
    Reply,
    State,
    Subscription,
    may_try_again,
    reason_of,
)
from voki_bots.signalling.replies import Outbox, Replies
from voki_bots.signalling.wire import Message

MAX_BUFFER = 1000
"""Pushes that may wait for a channel to be joined."""


class Lives:
    """All channels of one connection, each somewhere in its life.

    Args:
        outbox: Where joins, leaves and pushes are written.
        replies: Where their answers are awaited.
        tell: Takes what happened to a channel.
        timeout: Seconds that a join, a push or a leave may take.
        rejoin: Seconds before the first, second, … rejoin; the last is repeated.
        spread: Changes a delay a little.

    Attributes:
        all: The channels that were joined and have not closed, oldest first.
        open: Whether there is a socket.
    """

    def __init__(
        self,
        outbox: Outbox,
        replies: Replies,
        tell: Callable[[Subscription, ChannelEvent], None],
        *,
        timeout: float,
        rejoin: Sequence[float],
        spread: Callable[[float], float],
    ) -> None:
        self.all: list[Subscription] = []
        self.open = False
        self._outbox = outbox
        self._replies = replies
        self._tell = tell
        self._timeout = timeout
        self._rejoin = tuple(rejoin)
        self._spread = spread

    def join(self, subscription: Subscription, now: float) -> int:
        """Begin a channel's life; see `Connection.join`."""
        if subscription.state is not State.NEW:
            raise ProtocolError(f"{subscription.topic!r} can be joined once; make a new channel")
        for other in list(self.all):
            if other.topic == subscription.topic and other.state is not State.LEAVING:
                self.close(other, "replaced by a newer channel of the same topic")
        ticket = self._replies.ticket()
        subscription.waiting = Push(wire.JOIN, None, ticket, now, now + self._timeout)
        subscription.state = State.JOINING
        self.all.append(subscription)
        if self.open:
            self.send_join(subscription, now)
        return ticket

    def leave(self, subscription: Subscription, now: float) -> int:
        """Begin its end; see `Connection.leave`."""
        ticket = self._replies.ticket()
        subscription.leavers.append(ticket)
        if subscription.state is State.LEAVING:
            return ticket
        if not self.open or subscription.join_ref is None:
            self.close(subscription, "left")
            return ticket
        join_ref = subscription.join_ref
        self._replies.fail(subscription, "left")
        self._drop_buffer(subscription, "left")
        self._replies.settle(subscription.waiting, ConnectionLostError(f"{subscription.topic!r} was left"))
        subscription.waiting, subscription.state = None, State.LEAVING
        subscription.leave_until = now + self._timeout
        ref = self._outbox.write(join_ref, subscription.topic, wire.LEAVE, {})
        self._replies.await_reply(ref, Push(wire.LEAVE, None, None, now, inf, subscription))
        return ticket

    def release(self, subscription: Subscription, reason: str, now: float) -> None:
        """Let go of a channel; see `Connection.release`."""
        if subscription.state in (State.JOINED, State.JOINING):
            self.fault(subscription, reason, now)
        if subscription in self.all:
            self.all.remove(subscription)

    def adopt(self, subscription: Subscription) -> dict[int, int]:
        """Take a channel that was released; see `Connection.adopt`."""
        if subscription.state is State.NEW:
            return {}
        renewed: dict[int, int] = {}
        for push in (*subscription.buffer, subscription.waiting):
            if push is not None and push.ticket is not None:
                push.ticket = renewed[push.ticket] = self._replies.ticket()
        subscription.rejoin_at, subscription.tries = inf, 0
        self.all.append(subscription)
        return renewed

    def rejoin(self, now: float, *states: State) -> None:
        """Join at once whoever is in one of these states."""
        for subscription in list(self.all):
            if self.open and subscription.state in states:
                subscription.tries = 0
                self.send_join(subscription, now)

    def lost(self, reason: str, now: float) -> None:
        """There is no socket any more: what was joined waits for the next, what was leaving has left."""
        self.open = False
        for subscription in list(self.all):
            if subscription.state in (State.JOINING, State.JOINED):
                self.fault(subscription, reason, now)
            elif subscription.state is State.LEAVING:
                self.close(subscription, "left")
            subscription.rejoin_at, subscription.tries = inf, 0

    def cancel(self, ticket: int) -> None:
        """Forget who waited."""
        for subscription in self.all:
            subscription.buffer = [push for push in subscription.buffer if push.ticket != ticket]
            subscription.leavers = [leaver for leaver in subscription.leavers if leaver != ticket]
            if subscription.waiting and subscription.waiting.ticket == ticket:
                subscription.waiting = None

    def __len__(self) -> int:
        """How many commands wait here."""
        return sum(len(one.buffer) + (one.waiting is not None) for one in self.all)

    def deadlines(self) -> Iterator[float]:
        """When something is due."""
        for subscription in self.all:
            yield min(subscription.attempt_until, subscription.leave_until, subscription.rejoin_at)
            if subscription.waiting is not None:
                yield subscription.waiting.deadline
            for push in subscription.buffer:
                yield push.deadline

    def submit(self, subscription: Subscription, push: Push, now: float) -> None:
        """Send, or buffer until the channel is joined; see `Connection.push`."""
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
        ref = self._outbox.write(subscription.join_ref, subscription.topic, push.event, push.payload)
        push.payload = None
        if push.ticket is None:
            push.deadline = now + self._timeout  # only to notice that it was refused
        self._replies.await_reply(ref, push)

    def send_join(self, subscription: Subscription, now: float) -> None:
        """Join, for the first time or again."""
        params = dict(subscription.params())
        try:
            ref = self._outbox.write_join(subscription.topic, params)
        except ProtocolError as error:
            self._replies.settle(subscription.waiting, error)
            subscription.waiting = None
            self.close(subscription, str(error))
            return
        subscription.state, subscription.join_ref, subscription.rejoin_at = State.JOINING, ref, inf
        subscription.attempt_until = now + self._timeout
        self._replies.await_reply(ref, Push(wire.JOIN, None, None, now, inf, subscription))

    def join_replied(self, subscription: Subscription, reply: Reply, now: float) -> None:
        """The platform answered the join."""
        if reply.status == "ok":
            again, subscription.joined_before = subscription.joined_before, True
            subscription.state, subscription.attempt_until = State.JOINED, inf
            subscription.tries = subscription.refusals = 0
            self._replies.settle(subscription.waiting, reply)
            subscription.waiting = None
            self._tell(subscription, Joined(reply.response, again))
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
            self.fault(subscription, reason, now)
            return
        self._replies.settle(subscription.waiting, JoinRefusedError(subscription.topic, reason))
        subscription.waiting = None
        self.close(subscription, f"the join was refused: {reason}")

    def ended(self, message: Message, now: float) -> None:
        """The platform said ``phx_close`` or ``phx_error``."""
        join_ref = message.join_ref or message.ref  # version 1 has no join_ref, but gives the same as ref
        alive = (State.JOINED, State.LEAVING)
        for subscription in self.all:
            if subscription.topic != message.topic:
                continue
            if subscription.state in alive if join_ref is None else subscription.join_ref == join_ref:
                break
        else:
            return
        if subscription.state is State.LEAVING:
            self.close(subscription, "left")
        elif message.event == wire.CLOSE:
            self.close(subscription, reason_of(message.payload, "closed by the platform"))
        elif subscription.state in (State.JOINED, State.JOINING):
            self.fault(subscription, reason_of(message.payload, "channel error"), now)

    def fault(self, subscription: Subscription, reason: str, now: float) -> None:
        """Not joined any more, or not yet: fail what was sent, say so once, and plan the rejoin."""
        self._replies.fail(subscription, reason)
        subscription.state, subscription.join_ref = State.ERRORED, None
        subscription.attempt_until = subscription.rejoin_at = inf
        if self.open:
            subscription.rejoin_at = now + self._spread(
                self._rejoin[min(subscription.tries, len(self._rejoin) - 1)]
            )
            subscription.tries += 1
        self._tell(subscription, Errored(reason))

    def close(self, subscription: Subscription, reason: str) -> None:
        """End a channel's life, and let everybody know who waits for it."""
        was, subscription.state = subscription.state, State.CLOSED
        self._replies.fail(subscription, reason)
        self._drop_buffer(subscription, reason)
        self._replies.settle(subscription.waiting, ConnectionLostError(f"{subscription.topic!r}: {reason}"))
        subscription.waiting, subscription.join_ref = None, None
        subscription.rejoin_at = subscription.attempt_until = subscription.leave_until = inf
        for ticket in subscription.leavers:
            self._replies.conclude(ticket, Reply("ok", None))
        subscription.leavers.clear()
        if subscription in self.all:
            self.all.remove(subscription)
        if was is not State.CLOSED:
            self._tell(subscription, Closed(reason))

    def _drop_buffer(self, subscription: Subscription, reason: str) -> None:
        for push in subscription.buffer:
            self._replies.settle(
                push, ConnectionLostError(f"{push.event!r} was not sent: {reason}", reason=reason)
            )
        subscription.buffer.clear()

    def wake(self, subscription: Subscription, now: float) -> None:
        """Do what is due for one channel: timeouts, and its rejoin."""
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
            self.fault(subscription, "the join timed out", now)
            self._outbox.write(join_ref, subscription.topic, wire.LEAVE, {})  # in case it was only slow
        elif subscription.leave_until <= now:
            self.close(subscription, "left")
        elif subscription.rejoin_at <= now and self.open:
            self.send_join(subscription, now)
