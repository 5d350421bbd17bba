"""What pauses a call when it happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from voki_bots import Bot, ConfigurationError, Watch
from voki_bots.bots.registry import Registry
from voki_bots.bots.watch import WatchFired, Watching
from voki_bots.calls import (
    Participant,
    ParticipantJoined,
    PluginEvent,
    RecordingPaused,
    RecordingResumed,
    Role,
    Supervision,
    SupervisionStarted,
    SupervisionStopped,
    UtteranceHeard,
)
from voki_bots.testing import FakeAttendance


@dataclass(frozen=True, slots=True)
class CardShown(PluginEvent):
    """A plugin's event."""


async def pauses(*watches: Watch, happening: list[object], wait: int) -> list[tuple[str, str]]:
    """Let things happen; give who paused and who resumed, once there are so many."""
    async with FakeAttendance() as call, Watching(watches).attend(call):
        events, found = call.events(), []
        for event in happening:
            call.emit(event)  # type: ignore[arg-type]  # any of them
        async for event in events:
            if isinstance(event, RecordingPaused | RecordingResumed):
                found.append((type(event).__name__[9:], event.actor))
            if len(found) == wait:
                break
    return found


async def test_an_event_pauses_until_another() -> None:
    """Each watch has a pause of its own."""
    supervised = Watch(on="SupervisionStarted", where={"mode": "barge"}, until="SupervisionStopped")
    shown = Watch(on="CardShown", seconds=30.0, name="card")
    happening = [
        SupervisionStarted(Supervision.WHISPER, "u-1"),
        SupervisionStarted(Supervision.BARGE, "u-1"),
        CardShown(),
        SupervisionStopped(Supervision.BARGE),
    ]
    assert await pauses(supervised, shown, happening=list(happening), wait=3) == [
        ("Paused", "watch:SupervisionStarted"),
        ("Paused", "watch:card"),
        ("Resumed", "watch:SupervisionStarted"),
    ]


async def test_a_keyword_pauses() -> None:
    """Whatever its case, in whatever is heard, as soon as it is heard; a dot leads into a field."""
    heard = UtteranceHeard("1", 0, False, "My CARD number is", Role.CUSTOMER, None, 0.0, 1.0)
    joined = ParticipantJoined(Participant("u-1", "Ana", Role.CUSTOMER))
    keyword = Watch(on="UtteranceHeard", contains="card number", seconds=60.0)
    person = Watch(on="ParticipantJoined", where={"participant.role": "customer"}, seconds=1.0)
    found = await pauses(keyword, person, happening=[heard, joined], wait=2)
    assert found == [("Paused", "watch:UtteranceHeard"), ("Paused", "watch:ParticipantJoined")]


@pytest.mark.parametrize(
    ("watch", "problem"),
    [
        (Watch(on="CardShow", seconds=1.0), "no event 'CardShow'"),
        (Watch(on="CardShown", until="CardGone"), "no event 'CardGone'"),
        (Watch(on="RecordingPaused", seconds=1.0), "no event 'RecordingPaused'"),
        (Watch(on="DigitPressed", until="DigitPressed"), "DigitPressed ends no pause"),
        (Watch(on="SupervisionStarted", where={"mod": "barge"}, seconds=1.0), "no field 'mod'"),
        (Watch(on="CallEnded", contains="card", seconds=1.0), "no field 'text'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_watch_that_can_never_fire_is_a_mistake(watch: Watch, problem: str) -> None:
    """It is told before anything connects."""
    with pytest.raises(ConfigurationError, match=problem):
        Bot("minutes", watch=[watch]).plugins(Registry())


def test_two_watches_do_not_share_a_pause() -> None:
    """One would end the other's."""
    with pytest.raises(ConfigurationError, match="give each a name"):
        Bot("minutes", watch=[Watch(on="CardShown", seconds=1.0)] * 2).plugins(Registry())


def said(text: str, *, id_: str = "1", final: bool = True, role: Role = Role.CUSTOMER) -> UtteranceHeard:
    return UtteranceHeard(id_, 0, final, text, role, "c-1", 0.0, 1.0)


async def fired(watch: Watch, *happening: object) -> list[tuple[str, str]]:
    """Let things happen (numbers let call time pass); give which watches fired at which utterance."""
    async with FakeAttendance() as call, Watching([watch]).attend(call):
        for event in happening:
            if isinstance(event, float):
                call.advance(event)
            else:
                call.emit(event)  # type: ignore[arg-type]
            for _ in range(3):
                await asyncio.sleep(0)
    return [(each.watch, each.utterance) for each in call.published if isinstance(each, WatchFired)]


async def test_a_phrase_fires_when_it_is_said() -> None:
    """By the right one, in a final, once for each utterance."""
    watch = Watch(phrases=("cancelar", "outra empresa"), role=Role.CUSTOMER, name="leaving")
    happening = [
        said("quero cancelar", final=False),
        said("quero cancelar agora"),
        said("vou cancelar", role=Role.ATTENDANT, id_="2"),
        said("vou para OUTRA empresa", id_="3"),
        said("obrigado", id_="4"),
    ]
    assert await fired(watch, *happening) == [("leaving", "1"), ("leaving", "3")]


async def test_a_phrase_may_fire_before_the_utterance_is_over() -> None:
    """Then its revisions and its final fire no more."""
    watch = Watch(phrases=("card",), partials=True)
    happening = [said("my card", final=False), said("my card is", final=False), said("my card is red")]
    assert await fired(watch, *happening) == [("card", "1")]


async def test_a_watch_rests_for_as_long_as_it_is_told() -> None:
    """What happens in its cool-down does not count."""
    watch = Watch(phrases=("card",), cooldown=30.0)
    happening = [said("card", id_="1"), 10.0, said("card", id_="2"), 25.0, said("card", id_="3")]
    assert await fired(watch, *happening) == [("card", "1"), ("card", "3")]


async def test_a_watch_may_be_for_the_beginning_alone() -> None:
    """After so many seconds it does not look any more."""
    watch = Watch(regex="promo(ção)?", within=60.0)
    assert [who for _, who in await fired(watch, said("uma promoção"), 61.0, said("promo", id_="2"))] == ["1"]


@pytest.mark.parametrize(("greeting", "fires"), [("bom dia, central", []), ("alô", [("greeting", "")])])
async def test_what_is_not_said_in_time_fires(greeting: str, fires: list[tuple[str, str]]) -> None:
    """The attendant greets within half a minute, or a watch says so; once, and not when it is said late."""
    watch = Watch(phrases=("bom dia",), role=Role.ATTENDANT, absent_until=0.05, name="greeting")
    async with FakeAttendance() as call, Watching([watch]).attend(call):
        call.emit(said(greeting, role=Role.ATTENDANT))
        await asyncio.sleep(0)
        call.advance(0.1)
        await asyncio.sleep(0.1)
        call.emit(said("bom dia", role=Role.ATTENDANT, id_="9"))
        await asyncio.sleep(0)
    found = [each for each in call.published if isinstance(each, WatchFired)]
    assert [(each.watch, each.utterance) for each in found] == fires
    assert all(each.absent for each in found)


async def test_a_hint_and_a_pause_follow() -> None:
    """The hint goes to whom it is for; the event names nobody's words."""
    watch = Watch(phrases=("card number",), seconds=60.0, hint="Use the payment page", name="card")
    async with FakeAttendance() as call, Watching([watch]).attend(call):
        call.emit(said("my card number is 4111"))
        await call.until(lambda: call.hints)
    assert [(hint.text, hint.to) for hint in call.hints] == [("Use the payment page", Role.ATTENDANT)]
    assert "4111" not in repr(call.published)


async def test_an_expression_that_takes_too_long_is_switched_off() -> None:
    """For this call, and it is told once."""
    watch = Watch(regex=r"(a|aa)+$")
    async with FakeAttendance() as call, Watching([watch]).attend(call):
        for number in range(3):
            call.emit(said("a" * 3_000 + "!", id_=str(number)))
        await call.until(lambda: call.metrics.counts)
    assert [event for _, event, _ in call.log.lines] == ["watch_too_slow"]


def test_words_need_a_transcriber() -> None:
    """Nobody else hears them, and that is told before anything connects."""
    with pytest.raises(ConfigurationError, match="words are heard by a transcriber alone"):
        Bot("minutes", watch=[Watch(phrases=("card",))]).plugins(Registry())


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"on": "CallEnded"}, "must say when its pause ends"),
        ({"phrases": [" "]}, "a phrase is empty"),
        ({"regex": "("}, "no regular expression"),
        ({"phrases": ["x"], "within": 5.0, "absent_until": 9.0}, "leave out within"),
        ({"phrases": ["x"], "cooldown": float("inf")}, "must be a number of seconds"),
        ({"phrases": ["x"], "role": "boss"}, "attendant"),
    ],
)
def test_a_mistaken_watch_is_refused(settings: dict[str, object], why: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=why):
        Watch.model_validate(settings)
