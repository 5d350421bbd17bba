"""Between the machine of a socket and those who use it: commands in, outcomes and events out.

It also moves channels from one socket to another, which is why it knows no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import assert_never

import structlog

from voki_bots.errors import ProtocolError, SignallingError
from voki_bots.signalling.channel import Connection
from voki_bots.signalling.membership import (
    ChannelEvent,
    Closed,
    Happened,
    HeartbeatMissed,
    Noticed,
    Reply,
    Settled,
    State,
    Subscription,
)
from voki_bots.signalling.overlap import Overlap
from voki_bots.signalling.topic import Channel

_MAX_NOTICES = 100
_log = structlog.get_logger(__name__)


class Switchboard:
    """Who waits for what of one connection.

    Args:
        connection: The machine.
        clock: Seconds of the event loop.
        permitted: Whether an event may be pushed to a topic.
        max_events: Events that may wait for a channel's consumer.
        check: Raises why the socket is of no use any more, if it is.
        stirred: Called when deadlines may have changed.
        written: Called when there may be something to write.
        hang_up: Called when the connection is to end.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], float],
        permitted: Callable[[str, str], bool],
        max_events: int,
        check: Callable[[], None],
        stirred: Callable[[], None],
        written: Callable[[], None],
        hang_up: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._permitted = permitted
        self._max_events = max_events
        self._stirred = stirred
        self._written = written
        self._hang_up = hang_up
        self._channels: dict[Subscription, Channel] = {}
        self._futures: dict[int, asyncio.Future[Reply]] = {}
        self._notices: set[str] = set()
        self.check = check

    @property
    def channels(self) -> list[Channel]:
        """The channels that were made and have not closed."""
        return list(self._channels.values())

    def channel(self, topic: str, params: Callable[[], Mapping[str, object]]) -> Channel:
        """Make a channel."""
        subscription = self._connection.subscribe(topic, params)
        self._channels[subscription] = channel = Channel(self, subscription, self._max_events)
        return channel

    async def ping(self) -> None:
        """Wait for the answer to a heartbeat out of turn."""
        await self.command(lambda c, now: c.ping(now))

    def pump(self) -> None:
        """Pass on what the machine says, and look at its deadlines anew."""
        self.deliver()
        self._stirred()

    def permit(self, topic: str, event: str) -> None:
        """Refuse what Voki does not document."""
        if not self._permitted(topic, event):
            raise ProtocolError(f"Voki documents no event {event!r} that a client sends to {topic!r}")

    async def command(self, issue: Callable[[Connection, float], int]) -> Reply:
        """Give the machine a command, and wait for what its ticket settles with."""
        ticket = issue(self._connection, self._clock())
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures[ticket] = future
        self.pump()
        try:
            return await future
        finally:
            if self._futures.pop(ticket, None) is not None:
                self._connection.cancel(ticket)
            if future.done() and not future.cancelled():
                future.exception()  # we may have been cancelled between its coming and our waking

    def send(self, subscription: Subscription, event: str, payload: Mapping[str, object]) -> None:
        """Push, and forget."""
        self._connection.send(subscription, event, payload, self._clock())
        self.pump()

    def deliver(self) -> None:
        """Pass on what the machine says."""
        for output in self._connection.events():
            match output:
                case Settled(ticket, outcome):
                    self._settle(ticket, outcome)
                case Happened(subscription, event):
                    self._happened(subscription, event)
                case HeartbeatMissed():
                    self._hang_up()
                case Noticed(text):
                    if text not in self._notices and len(self._notices) < _MAX_NOTICES:
                        self._notices.add(text)
                        _log.warning("signalling.noticed", what=text)
                case _:
                    assert_never(output)
        self._written()

    def _settle(self, ticket: int, outcome: Reply | SignallingError) -> None:
        future = self._futures.pop(ticket, None)
        if future is None or future.done():
            return
        if isinstance(outcome, Reply):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    def _happened(self, subscription: Subscription, event: ChannelEvent) -> None:
        channel = self._channels.get(subscription)
        if isinstance(event, Closed):
            self._channels.pop(subscription, None)
        if channel is not None and not channel.put(subscription, event):
            _log.error("signalling.consumer_behind", topic=subscription.topic, events=self._max_events)
            self._connection.leave(subscription, self._clock())
            self._stirred()

    # ------------------------------------------------------------ moving channels to another socket

    def hand_over(self, channels: Iterable[Channel], to: Switchboard, reason: str) -> None:
        """Break channels here, for another socket to join when it is told to `rejoin` (break, then make).

        What is pushed meanwhile waits; to the user it is as if the connection had been lost.
        """
        for channel in channels:
            subscription = channel.subscription
            if subscription.state is State.LEAVING:
                continue  # it ends here
            self._connection.release(subscription, reason, self._clock())
            self.deliver()
            self._channels.pop(subscription, None)
            for old, new in to._connection.adopt(subscription).items():
                if (future := self._futures.pop(old, None)) is not None:
                    to._futures[new] = future
            to._channels[subscription] = channel
            channel.carried_by(to, subscription)

    def rejoin(self) -> None:
        """Join at once what was handed over."""
        self._connection.rejoin(self._clock())
        self.pump()

    async def overtake(self, channel: Channel, to: Switchboard) -> bool:
        """Join a channel on another socket too, and leave it here when that is done (make, then break).

        Its user is told every event once, and of the change nothing.

        Returns:
            Whether it is there now; if the other socket could not join, it is where it was.
        """
        old = channel.subscription
        new = to._connection.subscribe(old.topic, old.params)
        overlap = Overlap(old, away=not channel.joined)
        channel.overlapping(overlap)
        to._channels[new] = channel
        try:
            await to.command(lambda c, now: c.join(new, now))
            if channel.ended:
                return True
            overlap.switched()
            channel.carried_by(to, new)
            await self.command(lambda c, now: c.leave(old, now))
            with contextlib.suppress(SignallingError):
                await to.ping()  # what was broadcast before we left has come by now
        except SignallingError as error:
            _log.warning("channel.not_overtaken", topic=old.topic, why=str(error))
            return False
        else:
            return True
        finally:
            if channel.subscription is not new:
                to._channels.pop(new, None)
                to._connection.leave(new, to._clock())
                to.pump()
            channel.overlapping(None)
