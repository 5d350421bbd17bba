"""Which calls to attend, and the reason of every yes and no.

Calls are heard of from queue events, from notifications and from the REST list; all of it is merged on
(tenant, call_id), so a lost event costs at most one poll and a repeated one starts nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from voki_bots.bots.crew import Crew
from voki_bots.bots.rule import Decision
from voki_bots.bots.session import CallSession, Snapshot
from voki_bots.calls import Call, problem_with_id
from voki_bots.errors import JoinRefusedError, VokiError
from voki_bots.service.telemetry import Telemetry

_log = structlog.get_logger(__name__)

RETRIES = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Seconds before a call that could not be joined is tried again; after the last it is left alone."""

REMEMBERED = 2000
"""Ended calls that are remembered, so that a late event does not start them again."""


async def _nobody(_: CallSession) -> None:
    """Nobody follows."""


@dataclass(slots=True)
class Row:
    """What became of one call for one bot, as ``/api/v1/calls`` shows it."""

    bot: str
    call: Call
    decision: Decision
    state: str = "waiting"  # waiting, attending, ended, failed
    failures: int = 0
    not_before: float = 0.0
    session: CallSession | None = field(default=None, repr=False)

    def snapshot(self) -> Snapshot | None:
        """What the session is doing, if there is one."""
        return self.session.snapshot() if self.session else None


class Dispatch:
    """Starts and keeps the sessions of bots.

    Args:
        crews: The bots.
        group: Where sessions run.
        telemetry: Where decisions are counted.
        limit: Calls at most at once.
        full: Says why no call can be kept in an archive now, or None.
        followed: Hears everything that happens in a session, until its events end.
        clock: Seconds of the event loop.
    """

    def __init__(
        self,
        crews: Sequence[Crew],
        *,
        group: asyncio.TaskGroup,
        telemetry: Telemetry,
        limit: int,
        clock: Callable[[], float],
        full: Callable[[Path], str | None] = lambda _: None,
        followed: Callable[[CallSession], Coroutine[Any, Any, None]] = _nobody,
    ) -> None:
        self._crews = crews
        self._group = group
        self._telemetry = telemetry
        self._limit = limit
        self._full = full
        self._followed = followed
        self._clock = clock
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._bad_ids: set[str] = set()
        self.draining = False

    @property
    def rows(self) -> list[Row]:
        """Every call that was offered, the newest last."""
        return list(self._rows.values())

    @property
    def attending(self) -> int:
        """Calls attended now."""
        return len(self._running)

    def offer(self, call: Call, source: str) -> None:
        """Hear of a call, from anywhere and any number of times."""
        if problem := problem_with_id(call.call_id):
            if problem not in self._bad_ids and len(self._bad_ids) < REMEMBERED:
                self._bad_ids.add(problem)
                _log.warning("call_ignored", why=f"its id {problem}", source=source)
            return
        for crew in self._crews:
            self._offer(crew, call, source)
        self._forget()

    def _offer(self, crew: Crew, call: Call, source: str) -> None:
        key = (crew.bot.name, *call.key)
        row = self._rows.get(key)
        if row is not None:
            row.call = row.call.merged(call)
            if row.state in ("attending", "ended"):
                return
        else:
            row = self._rows[key] = Row(crew.bot.name, call, Decision(attend=False, reason="new"))
        decision = self._decide(crew, row)
        if decision != row.decision:
            row.decision = decision
            self._telemetry.decisions.labels(crew.bot.name, str(decision.attend).lower()).inc()
            _log.info(
                "decided",
                bot=crew.bot.name,
                tenant=call.tenant,
                call=call.call_id,
                attend=decision.attend,
                reason=decision.reason,
                source=source,
            )
        if row.call.over:
            row.state = "ended"
        elif decision.attend and self._clock() >= row.not_before:
            self._start(crew, row)

    def _decide(self, crew: Crew, row: Row) -> Decision:
        if self.draining:
            return Decision(attend=False, reason="the service is stopping")
        if row.failures >= len(RETRIES):
            return Decision(attend=False, reason=f"it could not be joined {row.failures} times")
        if len(self._running) >= self._limit:
            return Decision(attend=False, reason=f"{self._limit} calls are attended, the most allowed")
        decision = crew.bot.rule.decide(row.call)
        if decision.attend and (why := self._full(crew.archive)):
            return Decision(attend=False, reason=why)
        return decision

    def _start(self, crew: Crew, row: Row) -> None:
        row.state = "attending"
        task = self._group.create_task(self._attend(crew, row), name=f"{crew.bot.name} in a call")
        self._running.add(task)
        self._telemetry.calls.labels(crew.bot.name).set(len(self._running))
        task.add_done_callback(lambda done: self._done(crew, done))

    def _done(self, crew: Crew, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._telemetry.calls.labels(crew.bot.name).set(len(self._running))

    async def _attend(self, crew: Crew, row: Row) -> None:
        tenant, bot = row.call.tenant, crew.bot.name
        log = _log.bind(bot=bot, tenant=tenant, call=row.call.call_id)
        session = crew.session(
            row.call,
            metrics=lambda plugin: self._telemetry.of(bot, tenant, plugin),
            measured=self._telemetry.tracks.of(bot, row.call),
        )
        following = asyncio.create_task(self._followed(session), name=f"delivery of {bot}")
        await asyncio.sleep(0)  # it listens before anything happens
        try:
            async with session:
                row.session, row.failures = session, 0
                self._telemetry.attended.labels(bot).inc()
                log.info("attending", directory=str(session.directory))
                reason = await session.ended()
            row.state = "ended"
            log.info("attended", reason=reason, seconds=round(session.now, 2))
        except VokiError as error:
            self._not_joined(row, error)
        except Exception as error:
            self._not_joined(row, error)
            log.exception("session_failed", why=type(error).__name__)
        finally:
            row.session = None
            session.bus.close()
            (problem,) = await asyncio.gather(following, return_exceptions=True)
            if isinstance(problem, Exception):  # who reads of a call must not end the others
                log.error("delivery_failed", why=f"{type(problem).__name__}: {problem}")

    def _not_joined(self, row: Row, error: Exception) -> None:
        wait = RETRIES[min(row.failures, len(RETRIES) - 1)]
        row.failures += 1
        row.not_before = self._clock() + wait
        row.state = "failed"
        self._telemetry.failed.labels(row.bot, type(error).__name__).inc()
        refused = isinstance(error, JoinRefusedError)
        _log.warning(
            "not_joined",
            bot=row.bot,
            tenant=row.call.tenant,
            call=row.call.call_id,
            why=str(error),
            then=f"again after {wait:g} s" if row.failures < len(RETRIES) else "left alone",
            advice="the bot's user may lack the role for this call" if refused else None,
        )

    async def drain(self, seconds: float, reason: str) -> None:
        """Leave every call, and wait until all are finished, or for some seconds."""
        self.draining = True
        for row in self._rows.values():
            if row.session:
                row.session.leave(reason)
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()

    def _forget(self) -> None:
        ended = [key for key, row in self._rows.items() if row.state == "ended"]
        for key in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._rows[key]
