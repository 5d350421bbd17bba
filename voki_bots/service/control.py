"""What may be told to a running service about its calls: to pause, and to go on.

Every route wants a token (``Authorization: Bearer …``): it is a header, so that no web page can make a
browser send it. Who it is is journalled as ``api:<name>``; with the control token they say so themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from voki_bots.bots.session import CallSession
from voki_bots.service.access import CONTROL, Access, Principal, Rank
from voki_bots.service.delivery import CALL

ACTOR = "api"


class Asked(BaseModel):
    """Who asks."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(
        default="",
        max_length=64,
        pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\z",
        description="who asks, for the journal",
    )

    def by_whom(self, who: Principal) -> str:
        """Who asks, as the journal names them; with the control token it is whoever they say they are."""
        names = [self.actor] if who.name == CONTROL else [who.name, self.actor]
        return ":".join(part for part in (ACTOR, "/".join(name for name in names if name)) if part)


class PauseAsked(Asked):
    """Body of a pause."""

    reason: str = Field(default="", max_length=500, description="why, for the journal")
    seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="after how many it ends by itself"
    )


class ResumeAsked(Asked):
    """Body of a resumption."""

    everyone: bool = Field(default=False, description="end the pauses of all, not only one's own")


class ConsentAsked(Asked):
    """Body of somebody's word on being recorded."""

    by: str = Field(default="", max_length=200, description="a participant's id; empty: all who are there")
    how: str = Field(default="", max_length=500, description="how it is known, for the journal")
    given: bool = Field(default=True, description="false if they refuse")


class Control:
    """The routes of commands.

    Args:
        running: Gives the calls that are attended now, one entry for each bot in each.
        access: Who may give them.
        more: Says of a session what else is to be shown of it.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[CallSession]],
        access: Access,
        more: Callable[[CallSession], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self._running = running
        self._access = access
        self._more = more

    def routes(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["control"])
        viewer, supervisor = Depends(self._access.viewer), Depends(self._access.supervisor)

        @router.get("/api/v1/me")
        async def me(who: Principal = viewer) -> dict[str, Any]:
            """Who asks, and what they may."""
            acts = who.may(Rank.SUPERVISOR)
            may = {"listen": acts, "speak": acts, "hint": acts, "pause": acts, "recordings": True}
            return {"name": who.name, "role": who.rank, "tenants": sorted(who.tenants), "may": may}

        @router.get("/api/v1/running")
        async def running(who: Principal = viewer) -> list[dict[str, Any]]:
            """The calls that are attended now, and who has paused them."""
            return [self._state(session) for session in self._running() if who.sees(session.call.tenant)]

        @router.post(CALL + "/pause")
        async def pause(
            tenant: str, call: str, asked: PauseAsked, who: Principal = supervisor
        ) -> list[dict[str, Any]]:
            """Let nothing of a call reach any file, transcript or listener, in all its bots."""
            sessions = self._in(tenant, call)
            self._access.audit(who, "paused", tenant, call, reason=asked.reason)
            for session in sessions:
                session.privacy.pause(asked.by_whom(who), reason=asked.reason, seconds=asked.seconds)
            return [self._state(session) for session in sessions]

        @router.post(CALL + "/resume")
        async def resume(
            tenant: str, call: str, asked: ResumeAsked, who: Principal = supervisor
        ) -> list[dict[str, Any]]:
            """End one's own pause, or everyone's; media flow again once nobody has one."""
            sessions = self._in(tenant, call)
            if asked.everyone and not who.may(Rank.ADMIN):
                raise HTTPException(403, f"to end everyone's pauses takes an admin, and you are a {who.rank}")
            self._access.audit(who, "resumed", tenant, call, everyone=asked.everyone)
            for session in sessions:
                session.privacy.resume(asked.by_whom(who), everyone=asked.everyone)
            return [self._state(session) for session in sessions]

        @router.post(CALL + "/consent")
        async def consent(
            tenant: str, call: str, asked: ConsentAsked, who: Principal = supervisor
        ) -> list[dict[str, Any]]:
            """Take note that somebody agreed to be recorded, or does not."""
            sessions = self._in(tenant, call)
            there = {each.id for session in sessions for each in session.roster.participants}
            if asked.by and asked.by not in there:  # a mistyped id must not count as everybody's word
                raise HTTPException(409, "nobody in the call has this id")
            self._access.audit(who, "consented", tenant, call, of=asked.by, given=asked.given)
            teller = asked.by_whom(who)
            for session in sessions:
                how = f"{asked.how} ({teller})" if asked.how else teller
                session.privacy.agree(asked.by or teller, how=how, given=asked.given)
            return [self._state(session) for session in sessions]

        return router

    def _state(self, session: CallSession) -> dict[str, Any]:
        return {**_state(session), **self._more(session)}

    def _in(self, tenant: str, call: str) -> list[CallSession]:
        found = [each for each in self._running() if each.call.key == (tenant, call)]
        if not found:
            raise HTTPException(404, "no bot attends this call now")
        return found


def _state(session: CallSession) -> dict[str, Any]:
    now = session.snapshot()
    return {
        "bot": now.bot,
        "tenant": now.call.tenant,
        "call": now.call.call_id,
        "now": now.now,
        "connected": now.connected,
        "paused": now.paused,
        "consented": now.consented,
        "pauses": [asdict(pause) for pause in now.pauses],
        "participants": [
            {"name": name, "role": role, "present": present} for name, role, present in now.participants
        ],
        "tracks": [{"track": track, "role": role, "level": level} for track, role, level in now.tracks],
        "detached": dict(now.detached),
        "plugins": list(now.plugins),
        "quality": [
            {
                "track": str(each.track),
                "role": str(session.roster.who(each.track).role),
                "mos": each.mos,
                "loss": round(each.loss, 4),
                "jitter": round(each.jitter, 4),
                "rtt": None if each.rtt is None else round(each.rtt, 4),
            }
            for each in now.quality
        ],
    }
