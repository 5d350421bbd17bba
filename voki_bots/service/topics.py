"""Queue, presence and notification topics: joined, kept joined, and turned into events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from voki_bots.bots.account import Account
from voki_bots.calls import ServiceEvent
from voki_bots.errors import SignallingError
from voki_bots.signalling import payloads
from voki_bots.signalling.membership import Errored, Joined, Received
from voki_bots.signalling.presence import AgentsOnline
from voki_bots.signalling.socket import Channel

_log = structlog.get_logger(__name__)

LEAVE = 1.0
"""Seconds that the platform may take to acknowledge our leaving a topic."""


class Topics:
    """The topics of departments and of our user.

    A topic that the platform refuses is reported once and left alone: calls are also found by polling.

    Args:
        account: Whose socket.
        group: Where the listeners run.
        told: Called with every event, one at a time per topic.
        missed: Called when a topic that was away is back: it may have missed events.
        presence: Departments whose presence is followed. Joining may make the bot count as an agent
            (question Q8), so it happens only where it is configured.
    """

    def __init__(
        self,
        account: Account,
        group: asyncio.TaskGroup,
        *,
        told: Callable[[ServiceEvent], Awaitable[None]],
        missed: Callable[[], None] = lambda: None,
        presence: Sequence[str] = (),
    ) -> None:
        self._account = account
        self._group = group
        self._told = told
        self._followed: dict[str, Channel] = {}
        self._unknown: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._missed = missed
        for department in presence:
            self._follow(f"presence:{department}")

    async def follow_user(self, user_id: str) -> None:
        """Hear our own notifications."""
        self._follow(f"notification:{user_id}")

    async def follow_queue(self, department_id: str) -> None:
        """Hear a department's queue."""
        self._follow(f"queue:{department_id}")

    async def close(self) -> None:
        """Leave every topic."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._followed.values():
            try:
                async with asyncio.timeout(LEAVE):
                    await channel.leave()
            except (TimeoutError, SignallingError) as error:
                _log.debug("leave_unacknowledged", topic=channel.topic, why=str(error))

    def _follow(self, topic: str) -> None:
        if topic in self._followed:
            return
        self._followed[topic] = self._account.channel(topic)
        self._tasks.append(self._group.create_task(self._listen(self._followed[topic]), name=topic))

    async def _listen(self, channel: Channel) -> None:
        try:
            await channel.join()
        except SignallingError as error:
            _log.warning(
                "topic_refused", topic=channel.topic, why=str(error), then="calls are found by polling"
            )
            if not error.retryable:
                return
        view = AgentsOnline(channel.topic.partition(":")[2])
        async for notice in channel:
            match notice:
                case Joined(again=True):
                    view.rejoined()
                    self._missed()
                case Received(event=event, payload=payload):
                    for said in self._read(channel.topic, event, payload, view):
                        await self._told(said)
                case Errored(reason=reason):
                    _log.info("topic_away", topic=channel.topic, why=reason)

    def _read(self, topic: str, event: str, payload: object, view: AgentsOnline) -> list[ServiceEvent]:
        if topic.startswith("presence:") and event in ("presence_state", "presence_diff"):
            return list(view.receive(event, payload))
        said = payloads.department_event(topic, event, payload)
        if said is not None:
            return [said]
        kind = (topic.partition(":")[0], event[:80])
        if kind not in self._unknown:
            self._unknown.add(kind)
            _log.info("undocumented_event", topic=kind[0], event_name=kind[1])
        return []
