"""What the user of a socket holds: one joined topic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from voki_bots.errors import ProtocolError
from voki_bots.signalling.channel import Connection
from voki_bots.signalling.membership import ChannelEvent, Closed, Reply, State, Subscription
from voki_bots.signalling.overlap import Overlap


class Carrier(Protocol):
    """What a channel needs of its socket."""

    def check(self) -> None:
        """Raise why the socket is of no use any more, if it is."""

    def permit(self, topic: str, event: str) -> None:
        """Raise a ProtocolError if this event must not be pushed to this topic."""

    async def command(self, issue: Callable[[Connection, float], int]) -> Reply:
        """Give the machine a command, and wait for what its ticket settles with."""
        ...

    def send(self, subscription: Subscription, event: str, payload: Mapping[str, object]) -> None:
        """Give the machine a push whose reply is of no interest."""


class Channel:
    """One topic of a socket; made by `Socket.channel`.

    Iterate over it to get what happens: `Joined`, `Received`, `Errored`, and finally `Closed`. There is one
    consumer; what arrives before it begins is kept, up to a bound, beyond which the channel is left and the
    iteration ends with a ProtocolError: signalling is never dropped.
    """

    def __init__(self, socket: Carrier, subscription: Subscription, max_events: int) -> None:
        self._socket = socket
        self._max_events = max_events
        self._subscription = subscription
        self._overlap: Overlap | None = None
        self._events: deque[ChannelEvent] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._error: ProtocolError | None = None

    @property
    def topic(self) -> str:
        """For example ``call:42``."""
        return self._subscription.topic

    @property
    def subscription(self) -> Subscription:
        """What the socket's machine knows of it."""
        return self._subscription

    @property
    def ended(self) -> bool:
        """Whether it has closed."""
        return self._ended

    @property
    def joined(self) -> bool:
        """Whether a push would go out at once."""
        return self._subscription.state is State.JOINED

    async def join(self) -> object:
        """Join, and return the platform's response; may be called before the socket is open, and once.

        Raises:
            JoinRefusedError: The platform does not want us here; the channel is closed.
            ReplyTimeoutError: No answer yet; the channel goes on trying until `leave`, and says `Joined`.
            ConnectionLostError: No connection yet (it goes on trying), or the socket or channel was closed.
            ProtocolError: It was joined before.
        """
        self._socket.check()
        reply = await self._socket.command(lambda c, now: c.join(self._subscription, now))
        return reply.response

    async def push(
        self,
        event: str,
        payload: Mapping[str, object],
        *,
        timeout: float | None = None,
        configured: bool = False,
    ) -> Reply:
        """Send, or buffer until joined, and wait for the reply.

        Args:
            event: One that Voki documents for this topic.
            payload: Must be JSON.
            timeout: Seconds from now; by default the socket's.
            configured: Somebody who knows this platform configured the event, documented or not.

        Raises:
            ReplyTimeoutError: No reply came in time; platforms may well not reply at all (Q11).
            ConnectionLostError: The channel or the socket went away before the reply.
            ProtocolError: The event is not documented, or the channel was never joined.
        """
        if not configured:
            self._socket.permit(self.topic, event)
        self._socket.check()
        body = dict(payload)
        return await self._socket.command(
            lambda c, now: c.push(self._subscription, event, body, now, timeout)
        )

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Send, or buffer until joined, and forget.

        Raises:
            ConnectionLostError: The channel is closed, or too much is waiting already.
            ProtocolError: The event is not documented, or the channel was never joined.
        """
        self._socket.permit(self.topic, event)
        self._socket.send(self._subscription, event, dict(payload))

    async def leave(self) -> None:
        """Leave; returns when the platform says so, after a timeout, or at once if not joined."""
        await self._socket.command(lambda c, now: c.leave(self._subscription, now))

    def __aiter__(self) -> AsyncIterator[ChannelEvent]:
        return self

    async def __anext__(self) -> ChannelEvent:
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def carried_by(self, socket: Carrier, subscription: Subscription) -> None:
        """From now on what is asked of this channel goes to another socket."""
        self._socket, self._subscription = socket, subscription

    def overlapping(self, overlap: Overlap | None) -> None:
        """Two sockets tell of this channel, until None: each event counts once."""
        self._overlap = overlap

    def put(self, subscription: Subscription, event: ChannelEvent) -> bool:
        """Queue an event; False means that the consumer is too far behind."""
        if self._overlap is not None:
            admitted = self._overlap.admit(subscription, event)
            if admitted is None:
                return True
            event = admitted
        self._arrived.set()
        if isinstance(event, Closed):
            self._ended = True
        elif self._error is None and len(self._events) >= self._max_events:
            self._error = ProtocolError(
                f"{self._max_events} events of {self.topic!r} wait for their consumer"
            )
            return False
        if self._error is None:
            self._events.append(event)
        return True
