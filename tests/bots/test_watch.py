"""What pauses a call when it happens."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from voki_bots import Bot, ConfigurationError, Watch
from voki_bots.bots.registry import Registry
from voki_bots.bots.watch import Watching
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
