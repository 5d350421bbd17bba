"""What happens in one call, told to everybody who listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from voki_bots.calls import CallEvent, PluginEvent
from voki_bots.errors import PluginError

Happening: TypeAlias = CallEvent | PluginEvent

CAPACITY = 1000
"""Events that a listener may lag behind before it is told so by an error."""


class Events:
    """An async iterator over what happens from its making on; one consumer.

    Raises:
        PluginError: While iterating, if the consumer fell too far behind.
    """

    def __init__(self, owner: str, closed: Callable[[Events], None]) -> None:
        self._owner = owner
        self._closed = closed
        self._waiting: deque[Happening] = deque()
        self._wake = asyncio.Event()
        self._over = False
        self._overflown = False

    def put(self, event: Happening) -> None:
        """Hand over an event; never blocks."""
        if len(self._waiting) >= CAPACITY:
            self._overflown = True
        else:
            self._waiting.append(event)
        self._wake.set()

    def end(self) -> None:
        """No more events; what is waiting is still given."""
        self._over = True
        self._wake.set()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Happening:
        while not self._waiting:
            if self._overflown:
                self._closed(self)
                raise PluginError(f"{self._owner} fell {CAPACITY} events behind", plugin=self._owner)
            if self._over:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()


class Bus:
    """Tells every listener of one call what happened, in order."""

    def __init__(self) -> None:
        self._listeners: list[Events] = []
        self._over = False

    def events(self, owner: str) -> Events:
        """A new listener; it hears what happens from now on."""
        events = Events(owner, self._drop)
        if self._over:
            events.end()
        else:
            self._listeners.append(events)
        return events

    def publish(self, event: Happening) -> None:
        """Tell every listener."""
        for events in tuple(self._listeners):
            events.put(event)

    def close(self) -> None:
        """End every listener's iteration once it has heard everything."""
        self._over = True
        for events in self._listeners:
            events.end()
        self._listeners.clear()

    def _drop(self, events: Events) -> None:
        if events in self._listeners:
            self._listeners.remove(events)
