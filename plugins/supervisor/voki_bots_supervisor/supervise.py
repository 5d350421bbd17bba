"""The plugin itself: a table for each call, and who sits at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from voki_bots import (
    Attendance,
    Chair,
    Closing,
    Plugin,
    Refusal,
    Supervised,
)
from voki_bots_supervisor.settings import SupervisorSettings
from voki_bots_supervisor.table import Table


class Supervise(Plugin[SupervisorSettings]):
    """Let people listen to calls, whisper to the attendant, or be heard by all."""

    def __init__(self, settings: SupervisorSettings, *, name: str = "") -> None:
        super().__init__(settings, name=name or "supervisor")
        self._tables: dict[tuple[str, str], Table] = {}

    def check(self) -> list[str]:
        """Say what does not fit together."""
        return self.settings.problems()

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Have a table in a call until it ends."""
        table = self._tables[call.call.key] = Table(call, self.settings)
        call.start_soon(table.answer(call.events()))
        try:
            yield
        finally:
            del self._tables[call.call.key]
            await table.close()

    def attends(self, key: tuple[str, str]) -> bool:
        """See `voki_bots.Desk.attends`."""
        return key in self._tables

    def seated(self, key: tuple[str, str]) -> Sequence[Supervised]:
        """See `voki_bots.Desk.seated`."""
        table = self._tables.get(key)
        return [chair.seen() for chair in table.chairs] if table is not None else ()

    @asynccontextmanager
    async def sit(self, key: tuple[str, str], name: str) -> AsyncIterator[Chair]:
        """See `voki_bots.Desk.sit`."""
        if (table := self._tables.get(key)) is None:
            raise Refusal(Closing.CALL_OVER).error("supervise")
        async with table.chair(name) as chair:
            yield chair
