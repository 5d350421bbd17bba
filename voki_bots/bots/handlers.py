"""`Handlers`: the one internal plugin that a bot's decorators fill."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from voki_bots.bots.plugin import Attendance, Handler, Plugin, PluginSettings
from voki_bots.calls import CallJoined, ParticipantJoined, ServiceEvent
from voki_bots.errors import ConfigurationError

When: TypeAlias = Callable[[Any], bool]

LAST_WORDS = 5.0
"""Seconds that functions may go on after the call's end."""


@dataclass(frozen=True, slots=True)
class On:
    """One decorated function and when it is called.

    Attributes:
        name: The function's name, for logs.
        event: The class of the events it hears.
        when: Whether it wants this one.
        given: What of the event it is given beside the call; None: nothing.
        function: The coroutine function.
    """

    name: str
    event: type[Any]
    when: When
    given: Callable[[Any], Any] | None
    function: Handler

    def __post_init__(self) -> None:
        if not inspect.iscoroutinefunction(self.function):
            raise ConfigurationError(f"{self.name!r} must be an 'async def' function", path=self.name)

    @property
    def outside_calls(self) -> bool:
        """Whether its events belong to no call."""
        return self.event in get_args(ServiceEvent)


class Handlers(Plugin[PluginSettings]):
    """Calls the functions that a bot's decorators named.

    Each function has a queue of its own: it is called in the order of events, one call at a time, and one
    that raises or sleeps takes nothing from the others.
    """

    def __init__(self, on: Sequence[On]) -> None:
        super().__init__(PluginSettings(), name="handlers")
        self._on = [one for one in on if not one.outside_calls]
        self._outside = [one for one in on if one.outside_calls]

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Serve every function until the call's events end."""
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(self._serve(one, call)) for one in self._on]
            yield
            if serving:
                _, late = await asyncio.wait(serving, timeout=LAST_WORDS)
                for task in late:
                    task.cancel()

    async def _serve(self, one: On, call: Attendance) -> None:
        events = call.events()
        for seen in self._already(one, call):
            await self._call(one, call, seen)
        async for event in events:
            if isinstance(event, one.event) and one.when(event) and not await self._call(one, call, event):
                return

    @staticmethod
    def _already(one: On, call: Attendance) -> list[object]:
        """What happened before this function could hear of it."""
        seen: list[object] = []
        if one.event is ParticipantJoined:
            seen = [ParticipantJoined(who) for who in call.participants if who.present]
        elif one.event is CallJoined:
            seen = [CallJoined(call.call, call.user_id)]
        return [event for event in seen if one.when(event)]

    @staticmethod
    async def _call(one: On, call: Attendance, event: object) -> bool:
        """Call one function; False if it failed and must not be called again in this call."""
        arguments = [] if one.given is None else [one.given(event)]
        try:
            await one.function(call, *arguments)
        except Exception as error:  # noqa: BLE001 - a plugin's boundary: the function is somebody else's
            call.log.error("handler_failed", handler=one.name, error=f"{type(error).__name__}: {error}")
            call.metrics.count("handler_failures")
            call.journal("handler_failed", handler=one.name, error=type(error).__name__)
            return False
        return True

    async def observe(self, event: ServiceEvent) -> None:
        """Call the functions that hear of departments and users."""
        for one in self._outside:
            if isinstance(event, one.event) and one.when(event):
                await one.function(event)
