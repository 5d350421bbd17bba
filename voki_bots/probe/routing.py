"""Who hears a supervisor in one mode: measured before, during and after a rejoin.

The supervisor of a probe has no gate of supervision: he speaks all the while, so that what the platform does
is measured, and not what we would keep from it. That is why the call must be a closed one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from voki_bots.bots.profile import HEARD, Levels, Routing, leaked, right
from voki_bots.bots.supervision import HEARD_BY, SupervisionStrategy
from voki_bots.calls import Role, Supervision
from voki_bots.errors import SupervisionError, VokiError
from voki_bots.probe import findings
from voki_bots.probe.party import Party

SETTLE = 0.3
"""Seconds after which nothing is under way any more of what was said before."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long everything may take, in seconds.

    Attributes:
        media: Until media are up.
        hear: Until somebody is heard who should be; a platform that waits for our offers takes five.
        confirm: Until the platform says that a mode was taken.
        window: For how long it is listened whether nobody hears what he should not.
        whole: The whole probe.
    """

    media: float = 15.0
    hear: float = 9.0
    confirm: float = 5.0
    window: float = 1.0
    whole: float = 90.0


Fate = Literal["kept", "replaced", "lost"]


def sentence(error: object) -> str:
    """What is written down of something that the platform may have said: of any length, of any characters."""
    return str(error).encode("utf-8", "replace").decode()[:500]


@dataclass(slots=True)
class Fates:
    """What became of the supervisor's media."""

    token_change: Fate | None = None
    rejoin: Fate | None = None
    silence: float | None = None


class Measurement:
    """One mode of supervision, measured.

    Args:
        mode: Which.
        own: The supervisor.
        attendant: Who may hear him.
        customer: Who may or may not.
        strategy: How the platform is asked.
        pace: How long things may take.
        asked: When the platform was asked, if that was by joining.
        note: Told what could not be measured.
    """

    def __init__(
        self,
        mode: Supervision,
        own: Party,
        attendant: Party,
        customer: Party,
        strategy: SupervisionStrategy,
        pace: Pace,
        *,
        asked: float,
        note: Callable[[str], None],
    ) -> None:
        self.mode = mode
        self.fates = Fates()
        self._own = own
        self._others = (attendant, customer)
        self._strategy = strategy
        self._pace = pace
        self._asked = asked
        self._note = note

    async def run(self, renew: Callable[[], Awaitable[None]]) -> Routing:
        """Measure.

        Args:
            renew: Replaces the supervisor's socket.
        """
        if self._strategy.by != "join":
            self._asked = self._own.account.log.now
        if (refused := await self._act()) is not None:
            return refused
        marks = self._marks()
        before = await self._listened(marks, "before a rejoin")
        others = (Role.ATTENDANT, Role.CUSTOMER)
        hears = all(self._own.ears.loudest(role, marks[0]) >= HEARD for role in others)
        confirmed, after, told = await self._confirmation()
        during, survives = await self._rejoined(renew, leaked(self.mode, before) if before else ())
        await self._own.hush()
        await asyncio.sleep(SETTLE)
        again = await self._act()
        last = None if again is not None else await self._listened(self._marks(), "after a rejoin")
        levels = (before, during, last)
        return Routing(
            action="taken",
            confirmed=confirmed,
            confirmed_after=after,
            told=told,
            before=before,
            during=during,
            after=last,
            hears_both=hears,
            survives_rejoin=survives,
            routes_as_documented=all(each is not None and right(self.mode, each) for each in levels),
        )

    async def _act(self) -> Routing | None:
        """Ask the platform; gives what is to be said if it does not take that."""
        try:
            await self._strategy.act(self._own.session, self._own.account, self.mode)
        except SupervisionError as error:
            action: Literal["refused", "unanswered"] = (
                "refused" if error.why == "not_permitted" else "unanswered"
            )
            return Routing(action=action, why=sentence(error))
        except VokiError as error:  # as where there is no such path
            return Routing(action="refused", why=sentence(error))
        return None

    # ------------------------------------------------------------ listening

    def _marks(self) -> tuple[float, ...]:
        """Now, in the call time of the supervisor and of both others."""
        return self._own.now, *(party.now for party in self._others)

    async def _listened(self, marks: tuple[float, ...], when: str) -> Levels | None:
        """Speak, and give how loud it was at each since the marks; None if that says nothing."""
        self._own.speak()
        await self._expected(marks, self._pace.hear)
        await asyncio.sleep(self._pace.window)
        return await self._levels(marks, when)

    async def _expected(self, marks: tuple[float, ...], limit: float) -> bool:
        """Wait until everybody hears him who should, and until he is heard to speak at all."""
        waits = [
            party.hears(Role.SUPERVISOR, HEARD, mark, limit)
            for party, mark in zip(self._others, marks[1:], strict=True)
            if party.role in HEARD_BY[self.mode]
        ]
        says = self._own.account.log.wait(
            lambda: self._own.ears.said(Role.SUPERVISOR, marks[0]) >= HEARD, limit
        )
        return all(await asyncio.gather(says, *waits))

    async def _levels(self, marks: tuple[float, ...], when: str) -> Levels | None:
        """How loud he was since the marks; None if he said nothing, or somebody heard nobody at all."""
        await asyncio.gather(*(party.measured(party.now) for party in self._others))
        attendant, customer = self._others
        if self._own.ears.said(Role.SUPERVISOR, marks[0]) < HEARD:
            self._note(
                f"{self.mode}, {when}: the supervisor's own tone was not sent, so nothing was measured"
            )
            return None
        for party, other, mark in ((attendant, customer, marks[1]), (customer, attendant, marks[2])):
            if party.ears.loudest(other.role, mark) < HEARD:
                self._note(f"{self.mode}, {when}: the {party.role} heard nobody, so nothing was measured")
                return None
        loudest = (
            round(party.ears.loudest(Role.SUPERVISOR, mark), 1)
            for party, mark in zip(self._others, marks[1:], strict=True)
        )
        return Levels(**dict(zip(("attendant", "customer"), loudest, strict=True)))

    # ------------------------------------------------------------ what the platform says

    async def _confirmation(
        self,
    ) -> tuple[
        Literal["us", "another", "nobody"],
        float | None,
        tuple[Literal["attendant", "customer", "supervisor"], ...],
    ]:
        parties = (*self._others, self._own)
        us = self._own.account.user_id

        def words() -> dict[Role, list[tuple[float, str]]]:
            return {p.role: findings.started(p.account.log, self.mode, self._asked) for p in parties}

        def ours() -> list[float]:
            return [at for said in words().values() for at, who in said if who == us]

        left = self._asked + self._pace.confirm - self._own.account.log.now
        await self._own.account.log.wait(ours, max(0.0, left))
        said = words()
        told = tuple(role for role in ("attendant", "customer", "supervisor") if said[Role(role)])
        if times := ours():
            return "us", round(max(0.0, min(times) - self._asked), 3), told  # type: ignore[return-value]
        return ("another" if told else "nobody"), None, told  # type: ignore[return-value]

    # ------------------------------------------------------------ a rejoin

    async def _rejoined(
        self, renew: Callable[[], Awaitable[None]], leaked_before: tuple[str, ...]
    ) -> tuple[Levels | None, bool | None]:
        """Replace the socket, then leave and join anew, while he speaks; the mode is not asked for again."""
        own, log, marks = self._own, self._own.account.log, self._marks()
        segment = own.session.snapshot().segment
        try:
            await renew()
        except VokiError as error:
            self._note(f"{self.mode}: the socket could not be replaced: {error}")
        self.fates.token_change = await self._fate(segment)
        segment, left = own.session.snapshot().segment, log.now
        await own.session.rejoin()
        self.fates.rejoin = await self._fate(segment)
        if self.fates.rejoin == "replaced":
            self.fates.silence = round(log.now - left, 2)
        again = self._marks()
        heard = await self._expected(again, min(self._pace.hear, 3.0))
        await asyncio.sleep(self._pace.window)
        levels = await self._levels(marks, "during a rejoin")
        if levels is None:
            return None, None
        return levels, heard and set(leaked(self.mode, levels)) <= set(leaked_before)

    async def _fate(self, segment: int) -> Fate:
        """What became of his media: he hears somebody again, over the same connection or another."""
        own = self._own
        since = own.now + SETTLE
        others = (Role.ATTENDANT, Role.CUSTOMER)
        heard = await own.account.log.wait(
            lambda: any(own.ears.loudest(role, since) >= HEARD for role in others), self._pace.hear
        )
        if not heard:
            return "lost"
        return "kept" if own.session.snapshot().segment == segment else "replaced"
