"""One party of the test call: a session, a tone that it says, and ears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from voki_bots.bots.session import CallSession
from voki_bots.calls import Call, Role
from voki_bots.errors import SupervisionError
from voki_bots.probe.accounts import OverheardAccount
from voki_bots.probe.ears import HERTZ, Ears, tone

AGAIN = 0.05
"""Seconds until a tone that was cut off is tried again."""

DRAIN = 1.0
"""Seconds in which what was sent must have been measured, or it never comes."""


@dataclass(slots=True)
class Party:
    """Somebody in the test call.

    Attributes:
        role: As whom.
        account: The user.
        session: The session, entered.
        ears: What it hears.
    """

    role: Role
    account: OverheardAccount
    session: CallSession
    ears: Ears
    _voice: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def now(self) -> float:
        """Seconds of this session's call time, by which its ears measure."""
        return self.session.now

    async def connected(self, limit: float, *, beyond: int = -1) -> bool:
        """Wait for media, of a segment after `beyond`; False if they are not in time."""
        return await self.account.log.wait(
            lambda: self.session.connected and self.session.snapshot().segment > beyond, limit
        )

    def speak(self) -> None:
        """Say the tone from now on, through every interruption."""
        if self._voice is None:
            self._voice = asyncio.create_task(self._say(), name=f"tone of the {self.role}")

    async def hush(self) -> None:
        """Stop."""
        if self._voice is not None:
            self._voice.cancel()
            await asyncio.gather(self._voice, return_exceptions=True)
            self._voice = None

    async def _say(self) -> None:
        while True:
            try:
                await self.session.say(tone(HERTZ[self.role]))
            except SupervisionError as error:
                if error.why == "call_over":
                    return
                await asyncio.sleep(AGAIN)

    async def hears(self, role: Role, level: float, since: float, limit: float) -> bool:
        """Wait until somebody's tone is heard; False if it is not in time."""
        return await self.account.log.wait(lambda: self.ears.loudest(role, since) >= level, limit)

    async def measured(self, until: float) -> None:
        """Wait until all is measured that came up to a moment of call time."""
        await self.ears.until(until, DRAIN)


@asynccontextmanager
async def taking_part(
    role: Role,
    account: OverheardAccount,
    call: Call,
    directory: Path,
    *,
    speaks: bool = True,
    join: Mapping[str, object] | None = None,
) -> AsyncIterator[Party]:
    """Be somebody in the test call.

    Args:
        role: Who.
        account: As which user.
        call: The call.
        directory: Where the session's journal goes, which nobody keeps.
        speaks: Whether there is a sender.
        join: Parameters of the join.
    """
    ears = Ears(f"ears of the {role}")
    session = CallSession(
        call, account, bot=str(role), plugins=[ears], archive=directory, speaks=speaks, join=join
    )
    async with session:
        party = Party(role, account, session, ears)
        try:
            yield party
        finally:
            await party.hush()
