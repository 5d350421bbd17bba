"""Every documented event of a call's topic reaches a bot, typed; what is undocumented breaks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from voki_bots import (
    AnswerReceived,
    Attendance,
    Bot,
    CallEnded,
    CandidateReceived,
    OfferReceived,
    ParticipantJoined,
    ParticipantLeft,
    Plugin,
    PluginSettings,
    Role,
    Supervision,
    SupervisionStarted,
)
from voki_bots.testing.sim import Sim, SimCall

PEOPLE = ({"role": "attendant", "joins": "after_bot", "tone": 440},)


class Ear(Plugin[PluginSettings]):
    """Keep everything that happens in a call."""

    def __init__(self) -> None:
        super().__init__(PluginSettings(), name="ear")
        self.heard: list[object] = []
        self._more = asyncio.Event()

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        call.start_soon(self._listen(call))
        yield

    async def _listen(self, call: Attendance) -> None:
        async for event in call.events():
            self.heard.append(event)
            self._more.set()

    async def until(self, kind: type[Any], **fields: object) -> Any:
        """Wait for an event of a kind whose fields equal these."""
        async with asyncio.timeout(15):
            while True:
                for event in self.heard:
                    if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items()):
                        return event
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def hearing(sim: Sim, **more: Any) -> AsyncIterator[tuple[SimCall, Ear]]:
    """A call with an attendant, and an ear in it."""
    call, ear = await sim.call(*PEOPLE, **more), Ear()
    async with sim.attend(call, Bot("ear").use(ear)):
        yield call, ear


async def test_participant_joined(sim: Sim) -> None:
    """Somebody who joins is told with id, name and role."""
    async with hearing(sim) as (call, ear):
        await call.join("customer", name="Carlos", joins="now")
        event = await ear.until(ParticipantJoined)
        while event.participant.name != "Carlos":
            ear.heard.remove(event)
            event = await ear.until(ParticipantJoined)
    assert (event.participant.role, bool(event.participant.id)) == (Role.CUSTOMER, True)


async def test_participant_left(sim: Sim) -> None:
    """Somebody who leaves is told as the one who had joined."""
    async with hearing(sim) as (call, ear):
        await call.heard_by_bots(5)
        await call.leave(call.people[0])
        event = await ear.until(ParticipantLeft)
    assert (event.participant.id, event.participant.role) == (call.people[0].user_id, Role.ATTENDANT)


async def test_call_ended(sim: Sim) -> None:
    """The end of the call is told with its reason."""
    async with hearing(sim) as (call, ear):
        await call.end("completed")
        event = await ear.until(CallEnded)
    assert event == CallEnded("completed")


@pytest.mark.parametrize("mode", list(Supervision))
async def test_supervision_starts(sim: Sim, mode: Supervision) -> None:
    """`monitor_start`, `whisper_start` and `barge_start` are told with the supervisor's id and name."""
    async with hearing(sim) as (call, ear):
        body = {"mode": str(mode), "name": "Marina"}
        made = await sim.control("POST", f"/calls/{call.id}/supervision", body)
        event = await ear.until(SupervisionStarted)
    assert event == SupervisionStarted(mode, made["user_id"], "Marina")


async def test_signal_answer(sim: Sim) -> None:
    """The SFU's answer to our offer is told."""
    async with hearing(sim) as (_, ear):
        event = await ear.until(AnswerReceived)
    assert event.sdp.startswith("v=0")


async def test_signal_offer(sim: Sim) -> None:
    """The SFU's offer for one more voice is told."""
    async with hearing(sim) as (_, ear):
        event = await ear.until(OfferReceived)
    assert "a=mid:" in event.sdp


async def test_ice_candidate(sim: Sim) -> None:
    """The SFU's candidates are told with their m-line."""
    async with hearing(sim) as (_, ear):
        event = await ear.until(CandidateReceived)
    assert event.candidate.startswith("candidate:") and event.line == 0


async def test_what_is_undocumented_is_logged_once(sim: Sim) -> None:
    """Unknown events, in any shape, are logged once per kind and change nothing."""
    with capture_logs() as logs:
        async with hearing(sim) as (call, ear):
            for payload in ({"text": "hi"}, {"text": "again"}):
                topic = f"call:{call.id}"
                await sim.control(
                    "POST", "/broadcast", {"topic": topic, "event": "chat_message", "payload": payload}
                )
            await call.end("completed")
            await ear.until(CallEnded)
    told = [line for line in logs if line["event"] == "undocumented_event"]
    assert [line["event_name"] for line in told] == ["chat_message"]
