"""People sit down at a call, hear what its bot hears, and are heard as far as account and gate allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voki_bots_supervisor import Supervise, SupervisorSettings, WhisperAsked

from voki_bots import (
    Closing,
    Live,
    Login,
    MediaError,
    Packet,
    Prompt,
    Supervision,
    SupervisionError,
    SupervisionStrategy,
)
from voki_bots.testing import FakeAttendance, tone

KEY = ("acme", "call-1")
WAY = SupervisionStrategy(by="rest", path="/api/v1/calls/{call}/supervise")
SHARED = Login(email="desk@acme.test", password_file=Path("desk"))
OWN = Login(email="marina@acme.test", password_file=Path("marina"))
SAID = Prompt.from_pcm(tone(440, 0.1))


def settings(**more: Any) -> SupervisorSettings:
    return SupervisorSettings(**{"strategy": WAY, "login": SHARED, "people": {"marina": OWN}, **more})


@asynccontextmanager
async def attended(**more: Any) -> AsyncIterator[tuple[FakeAttendance, Supervise]]:
    """A call, and the plugin in it."""
    plugin = Supervise(settings(**more))
    async with FakeAttendance() as call, plugin.attend(call):
        yield call, plugin


def lines(call: FakeAttendance, *kinds: str) -> list[dict[str, Any]]:
    return [line for line in call.journalled if line["type"] in kinds]


async def test_who_listens_hears_the_side_wanted_and_the_platform_tells_so() -> None:
    """The platform is asked to monitor first; the journal says who, what and how long."""
    came: list[Packet] = []
    async with attended() as (call, plugin), plugin.sit(KEY, "marina") as chair:
        ana, kim = call.join("Ana", role="attendant"), call.join("Kim", role="customer")
        await chair.listen("customer", came.append)
        assert call.supervisors[0].mode is Supervision.MONITOR
        tracks = [await call.speak(who, tone(300, 0.5)) for who in (ana, kim)]
        assert {each.track for each in came} == {tracks[1]}
        await chair.listen("all", came.append)
        await call.speak(ana, tone(300, 0.5))
        assert {each.track for each in came} == set(tracks)
        await chair.listen("all", None)
    sides = [(line["type"], line["by"], line["side"]) for line in lines(call, "listening", "listened")]
    assert sides == [
        ("listening", "marina", "customer"),
        ("listened", "marina", "customer"),
        ("listening", "marina", "all"),
        ("listened", "marina", "all"),
    ]
    assert len(call.supervisors) == 1
    assert call.supervisors[0].left


async def test_nobody_listens_if_the_platform_does_not_let_them() -> None:
    """Then nothing is heard, and why is known."""
    came: list[Packet] = []
    async with attended() as (call, plugin), plugin.sit(KEY, "marina") as chair:
        with pytest.raises(SupervisionError):
            await chair.say(Supervision.WHISPER, "x") if chair.voice else await chair.speak(
                Supervision.MONITOR, SAID
            )
        await chair.speak(Supervision.WHISPER, SAID)
        call.supervisors[0].mode, call.supervisors[0].refuse = None, Closing.NOT_PERMITTED
        with pytest.raises(SupervisionError, match="role of a supervisor"):
            await chair.listen("all", came.append)
        await call.speak(call.join("Kim"), tone(300, 0.2))
        assert (chair.seen().state, chair.seen().why) == ("closed", "not_permitted")
    assert not came


async def test_where_the_platform_cannot_tell_a_hint_does() -> None:
    """There is no way to listen in secret: the attendant's screen says who listens, once."""
    async with (
        attended(told_by="hint", strategy=None, login=None, people={}) as (call, plugin),
        plugin.sit(KEY, "marina") as chair,
    ):
        await chair.listen("all", lambda _: None)
        call.advance(1.0)
        await chair.listen("customer", lambda _: None)
        assert [hint.text for hint in call.hints] == ["marina listens to this call."]
        assert not call.supervisors
        assert chair.modes == ()
        with pytest.raises(SupervisionError) as refused:
            await chair.speak(Supervision.WHISPER, SAID)
        assert refused.value.why == "not_configured"


async def test_ones_own_voice_is_not_heard_back() -> None:
    """Who barges is received by the bot as everybody else is."""
    came: list[Packet] = []
    async with attended() as (call, plugin), plugin.sit(KEY, "marina") as chair:
        await chair.listen("all", came.append)
        me = call.join("Marina", role="attendant", id=call.supervisors[0].user_id)
        await call.speak(me, tone(300, 0.2))
        assert not came


@pytest.mark.parametrize("mode", [Supervision.WHISPER, Supervision.BARGE])
async def test_a_voice_is_said_until_it_is_released(mode: Supervision) -> None:
    """The journal says who, in which mode and for how long; the state tells that somebody talks."""
    async with attended() as (call, plugin), plugin.sit(KEY, "marina") as chair:
        live = Live("marina", tail=0.0)
        saying = asyncio.create_task(chair.speak(mode, live))
        await call.until(lambda: call.supervisors and call.supervisors[0].spoken)
        assert (chair.seen().mode, chair.seen().state, chair.seen().talking) == (mode, "open", True)
        assert plugin.seated(KEY) == [chair.seen()]
        live.push(np.zeros(960, np.int16))
        live.frame(0)
        live.release()
        assert await saying == pytest.approx(0.02)
        assert not chair.seen().talking
    assert [line["mode"] for line in lines(call, "speaks", "spoke")] == [str(mode)] * 2


async def test_two_people_do_not_share_an_account() -> None:
    """The platform could not tell them apart; each with their own may."""
    async with (
        attended() as (call, plugin),
        plugin.sit(KEY, "ana") as ana,
        plugin.sit(KEY, "kim") as kim,
        plugin.sit(KEY, "marina") as marina,
    ):
        await ana.speak(Supervision.WHISPER, SAID)
        await marina.speak(Supervision.WHISPER, SAID)
        with pytest.raises(SupervisionError) as refused:
            await kim.speak(Supervision.WHISPER, SAID)
        assert refused.value.why == "busy"
        assert [each.name for each in call.supervisors] == ["ana", "marina"]
    assert [line["why"] for line in lines(call, "not_spoken")] == ["busy"]


async def test_who_comes_back_waits_until_they_have_left() -> None:
    """Whoever opens the page anew has the same account; the first one is still leaving."""
    async with (
        attended() as (_, plugin),
        plugin.sit(KEY, "marina") as first,
        plugin.sit(KEY, "marina") as again,
    ):
        await first.speak(Supervision.WHISPER, SAID)
        first.leaving = True
        speaking = asyncio.create_task(again.speak(Supervision.WHISPER, SAID))
        await asyncio.sleep(0.05)
        assert not speaking.done()
        first.account = None
        first.gone.set()
        await speaking


async def test_only_the_modes_that_are_configured_are_there() -> None:
    """Whoever may whisper may not yet be heard by all."""
    async with attended(modes=("whisper",)) as (_, plugin), plugin.sit(KEY, "marina") as chair:
        assert chair.modes == (Supervision.WHISPER,)
        with pytest.raises(SupervisionError) as refused:
            await chair.speak(Supervision.BARGE, SAID)
        assert refused.value.why == "not_permitted"
        with pytest.raises(MediaError, match="give the plugin a voice"):
            await chair.say(Supervision.WHISPER, "bom dia")
        with pytest.raises(SupervisionError, match="all, attendant, customer"):
            await chair.listen("left", print)


async def test_what_others_ask_for_is_shown() -> None:
    """A text cannot leak."""
    async with attended() as (call, _):
        call.publish(WhisperAsked("offer 20 %", "rules"))
        await call.until(lambda: call.hints)
        assert [hint.text for hint in call.hints] == ["offer 20 %"]
        assert not call.supervisors


async def test_what_cannot_be_whispered_is_shown() -> None:
    """The gate is closed, or nothing makes speech: the attendant reads it."""
    aloud = {"whispers": "aloud", "voice": "espeak-ng:pt-br", "modes": ()}
    async with attended(**aloud) as (call, _):
        call.publish(WhisperAsked("offer 20 %"))
        await call.until(lambda: call.hints)
        assert not call.supervisors
        assert ("warning", "not_whispered") in [line[:2] for line in call.log.lines]


async def test_the_call_waits_for_whoever_sits_there() -> None:
    """They are told that it is over, and are gone when it has ended."""
    plugin = Supervise(settings())
    gone = asyncio.Event()

    async def sit() -> None:
        async with plugin.sit(KEY, "marina") as chair:
            await chair.listen("all", lambda _: None)
            await chair.over.wait()
        gone.set()

    async with FakeAttendance() as call:
        async with plugin.attend(call):
            sitting = asyncio.create_task(sit())
            await call.until(lambda: call.supervisors)
        assert gone.is_set()
        await sitting
        assert not plugin.attends(KEY)
        with pytest.raises(SupervisionError, match="the call is over"):
            async with plugin.sit(KEY, "marina"):
                pass


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"login": None, "people": {}}, "told_by"),
        ({"strategy": None}, "told_by"),
        ({"whispers": "aloud"}, "whispers"),
        ({"operator": "x"}, "profile"),
        ({}, ""),
    ],
)
def test_settings_that_do_not_fit_together(more: dict[str, Any], problem: str) -> None:
    """Each is told at the start, in one sentence."""
    found = Supervise(settings(**more)).check()
    assert [each.partition(":")[0] for each in found] == ([problem] if problem else [])


@pytest.mark.parametrize("more", [{"voice": "nobody"}, {"modes": ("monitor",)}, {"told_by": "nobody"}])
def test_settings_that_are_wrong(more: dict[str, Any]) -> None:
    """They are refused when they are read."""
    with pytest.raises(ValueError, match=r"voice|modes|told_by"):
        settings(**more)
