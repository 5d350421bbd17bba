"""Everybody's places in one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from voki_bots import Attendance, CallEvent, PluginEvent, Supervision, VokiError
from voki_bots_supervisor.chair import Chair
from voki_bots_supervisor.events import WhisperAsked
from voki_bots_supervisor.settings import SupervisorSettings

AUTOMATIC = "automatic"
"""Who says what other plugins ask for."""


class Table:
    """The places in one call.

    Args:
        call: It.
        settings: The plugin's.
    """

    def __init__(self, call: Attendance, settings: SupervisorSettings) -> None:
        self.call = call
        self.settings = settings
        self.over = asyncio.Event()
        self.chairs: list[Chair] = []
        self._left = asyncio.Event()
        self._stack = AsyncExitStack()
        self._automatic: Chair | None = None

    def uses(self, email: str, but: Chair) -> Chair | None:
        """Who else is signed in with an account."""
        others = (each for each in self.chairs if each is not but and each.account is not None)
        return next((each for each in others if each.login and each.login.email == email), None)

    @asynccontextmanager
    async def chair(self, name: str) -> AsyncIterator[Chair]:
        """Take a place, until the ``async with`` or the call ends."""
        login = self.settings.people.get(name, self.settings.login)
        chair = Chair(self, name, login)
        self.chairs.append(chair)
        self._left.clear()
        try:
            async with chair:
                yield chair
        finally:  # it is there until its account is free again
            self.chairs.remove(chair)
            if not self.chairs:
                self._left.set()

    async def answer(self, events: AsyncIterator[CallEvent | PluginEvent]) -> None:
        """Tell the attendant what other plugins ask for, until the call ends."""
        async for event in events:
            if isinstance(event, WhisperAsked):
                await self._tell(event)

    async def _tell(self, asked: WhisperAsked) -> None:
        if self.settings.whispers == "aloud":
            if self._automatic is None:
                self._automatic = await self._stack.enter_async_context(self.chair(AUTOMATIC))
            try:
                await self._automatic.say(Supervision.WHISPER, asked.text)
            except VokiError as error:
                self.call.log.warning("not_whispered", by=asked.by, why=str(error), then="it is shown")
            else:
                return
        await self.call.hint(asked.text)

    async def close(self) -> None:
        """The call is over: everybody is asked to go, and has gone."""
        self.over.set()
        await self._stack.aclose()
        if self.chairs:
            await self._left.wait()
