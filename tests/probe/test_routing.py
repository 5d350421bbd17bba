"""What a measurement is worth: nothing, unless there was something to hear and somebody who could."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voki_bots.bots.profile import HEARD, Levels
from voki_bots.bots.supervision import SupervisionStrategy
from voki_bots.calls import Role, Supervision, Track
from voki_bots.errors import AuthenticationError, ConfigurationError, VokiError
from voki_bots.media.frames import AudioFrame
from voki_bots.probe.ears import HERTZ, RATE, Ears
from voki_bots.probe.overheard import Log
from voki_bots.probe.party import Party
from voki_bots.probe.routing import Measurement, Pace, sentence

pytestmark = pytest.mark.looptime

ATTENDANT, CUSTOMER, SUPERVISOR = Role.ATTENDANT, Role.CUSTOMER, Role.SUPERVISOR
REST = SupervisionStrategy(by="rest", path="/x/{call}")


def party(role: Role, *heard: Role, refuses: VokiError | None = None) -> Party:
    """Somebody who heard half a second of some tones; his own he said himself."""
    ears = Ears(str(role))
    for number, who in enumerate(heard):
        wave = np.sin(2 * np.pi * HERTZ[who] * np.arange(RATE // 2) / RATE) * 8_000
        track = Track(0, str(number), number + 1, local=who is role)
        ears.take(AudioFrame(track, wave.astype(np.int16), RATE, 1.0))

    async def command(path: str, body: Any) -> None:
        if refuses is not None:
            raise refuses

    account: Any = SimpleNamespace(
        log=Log(asyncio.get_running_loop().time), user_id=str(role), command=command
    )
    session: Any = SimpleNamespace(now=1.5, call=SimpleNamespace(call_id="c1"))
    return Party(role, account, session, ears)


def measurement(own: Party, attendant: Party, customer: Party) -> tuple[Measurement, list[str]]:
    """A measurement of a whisper, and what it notes."""
    notes: list[str] = []
    pace = Pace(confirm=1.0, window=0.1)
    made = Measurement(
        Supervision.WHISPER, own, attendant, customer, REST, pace, asked=0.0, note=notes.append
    )
    return made, notes


async def test_levels_are_those_of_the_supervisor_at_each() -> None:
    """As loud as he was."""
    made, notes = measurement(
        party(SUPERVISOR, SUPERVISOR), party(ATTENDANT, CUSTOMER, SUPERVISOR), party(CUSTOMER, ATTENDANT)
    )
    found = await made._levels((0.0, 0.0, 0.0), "now")
    assert isinstance(found, Levels)
    assert (found.attendant > HEARD, found.customer, notes) == (True, -127.0, [])


@pytest.mark.parametrize(
    ("said", "at_attendant", "at_customer", "why"),
    [
        ((), (CUSTOMER, SUPERVISOR), (ATTENDANT,), "the supervisor's own tone was not sent"),
        ((SUPERVISOR,), (SUPERVISOR,), (ATTENDANT,), "the attendant heard nobody"),
        ((SUPERVISOR,), (CUSTOMER, SUPERVISOR), (), "the customer heard nobody"),
    ],
)
async def test_silence_that_proves_nothing_is_no_measurement(
    said: tuple[Role, ...], at_attendant: tuple[Role, ...], at_customer: tuple[Role, ...], why: str
) -> None:
    """Who says nothing leaks nothing, and who is deaf hears no leak."""
    made, notes = measurement(
        party(SUPERVISOR, *said), party(ATTENDANT, *at_attendant), party(CUSTOMER, *at_customer)
    )
    assert await made._levels((0.0, 0.0, 0.0), "now") is None
    assert why in notes[0]


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (AuthenticationError("no", status=403), "refused"),
        (ConfigurationError("there is no such path"), "refused"),
        (VokiError("odd\ud800 text"), "refused"),
    ],
)
async def test_an_action_that_is_refused_is_a_finding(error: VokiError, action: str) -> None:
    """Nothing is said then, and nothing is raised."""
    made, _ = measurement(party(SUPERVISOR, refuses=error), party(ATTENDANT), party(CUSTOMER))

    async def never() -> None:
        raise AssertionError

    found = await made.run(never)
    assert (found.action, found.before, bool(found.why)) == (action, None, True)


def _tell(to: Party, supervisor: str) -> None:
    to.account.log.note("came", "whisper_start", {"supervisor_id": supervisor})


@pytest.mark.parametrize(
    ("words", "confirmed", "told"),
    [
        ((), "nobody", ()),
        (((ATTENDANT, "supervisor"),), "us", ("attendant",)),
        (((CUSTOMER, "somebody"),), "another", ("customer",)),
        (((ATTENDANT, "somebody"), (SUPERVISOR, "supervisor")), "us", ("attendant", "supervisor")),
    ],
)
async def test_whom_the_platform_names(
    words: tuple[tuple[Role, str], ...], confirmed: str, told: tuple[str, ...]
) -> None:
    """Whoever is told of it."""
    parties = {role: party(role) for role in (SUPERVISOR, ATTENDANT, CUSTOMER)}
    made, _ = measurement(*parties.values())
    for role, who in words:
        _tell(parties[role], who)
    assert (await made._confirmation())[::2] == (confirmed, told)


def test_what_a_platform_says_can_always_be_written_down() -> None:
    """However long it is, and whatever is in it."""
    assert len(sentence("x" * 9_999)) == 500
    assert sentence("a\ud800b").encode() == b"a?b"
