"""What keeps media from everybody, against the real pipeline and gate."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from voki_bots.bots.consent import Consent, ConsentPolicy
from voki_bots.bots.gate import Closing, Gate
from voki_bots.bots.pauses import Pause
from voki_bots.bots.privacy import Privacy
from voki_bots.bots.roster import Roster
from voki_bots.calls import (
    Call,
    CallEvent,
    ConsentAnnounced,
    ConsentGiven,
    ConsentRefused,
    GapCause,
    Participant,
    RecordingPaused,
    RecordingResumed,
    Role,
)
from voki_bots.media.containers import WavWriter
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Prompt
from voki_bots.testing import tone


class Room:
    """The far end: a session whose time the test turns."""

    def __init__(
        self,
        paused: Sequence[Pause] = (),
        longest: float | None = None,
        consent: ConsentPolicy | None = None,
    ) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.roster = Roster(Call("acme", "c1"), "u-bot")
        self.events: list[CallEvent] = []
        self.gate = Gate(announces=True)
        self.gate.connected()
        self.gate.arm()
        self.pipeline = Pipeline(clock=lambda: self.now, zero=0.0, report=self.events.append)
        asked = Consent(consent or ConsentPolicy())
        self.privacy = Privacy(self, longest=longest, paused=paused, consent=asked)

    def publish(self, event: CallEvent) -> None:
        self.events.append(event)

    async def say(self, prompt: Prompt) -> float:
        self.said.append(prompt.name)
        self.now += prompt.seconds
        return prompt.seconds

    def come(self, who: Participant) -> None:
        self.roster.joined(who, self.now)
        self.privacy.look()

    @property
    def held(self) -> GapCause | None:
        return self.pipeline.held

    @property
    def silent(self) -> bool:
        refusal = self.gate.refusal()
        return refusal is not None and refusal.why is Closing.PAUSED


def test_media_flow_again_once_nobody_has_a_pause() -> None:
    """The first resumption of two says who still has one, and opens nothing."""
    room = Room()
    room.privacy.pause("ana", reason="card")
    room.privacy.pause("pci")
    room.privacy.resume("ana")
    assert room.events[-1] == RecordingResumed("ana", 0.0, "ana", ("pci",)) and room.silent
    room.privacy.resume("pci")
    assert room.events[-1] == RecordingResumed("pci", 0.0, "pci") and not room.silent


def test_the_timer_resumes() -> None:
    """Not before its time."""
    room = Room(longest=60.0)
    room.privacy.pause("ana", seconds=90.0)
    room.now = 59.9
    room.privacy.tick()
    assert room.silent
    room.now = 60.0
    room.privacy.tick()
    assert room.events[-1] == RecordingResumed("timer", 60.0, "ana") and not room.silent


def test_a_pause_of_before_a_crash_is_taken_up() -> None:
    """It is told again, with its own end."""
    room = Room([Pause("ana", 0.0, "card", 90.0)])
    assert room.events == [RecordingPaused("ana", 0.0, "card", 90.0)] and room.silent


def test_a_pause_whose_time_ran_out_meanwhile_ends_at_once() -> None:
    """It is taken up first, so that nothing slips through between."""
    room = Room([Pause("ana", 0.0, "", 90.0)])
    room.now = 95.0
    room.privacy.tick()
    assert room.events[-1] == RecordingResumed("timer", 95.0, "ana") and not room.silent


CARL = Participant("u-carl", "Carl", Role.CUSTOMER)
EVE = Participant("u-eve", "Eve", Role.CUSTOMER)


@pytest.fixture
def asking(tmp_path: Path) -> Room:
    """A call in which customers are told, and asked."""
    writer = WavWriter(tmp_path / "told.wav", 48_000)
    writer.write(tone(440, 1.0))
    writer.close()
    return Room(consent=ConsentPolicy(policy="ask", announcement=tmp_path / "told.wav"))


async def test_nothing_is_written_before_everything_asked_for_has_happened(asking: Room) -> None:
    """Told is not enough where they are asked; the gate stays open for what must be said."""
    asking.come(CARL)
    assert (asking.held, asking.privacy.unannounced, asking.silent) == (GapCause.NO_CONSENT, True, False)
    await asking.privacy.announce()
    assert (asking.held, asking.said) == (GapCause.NO_CONSENT, ["told.wav"])
    asking.privacy.agree("u-carl", how="pressed 1")
    assert asking.held is None
    told = hashlib.sha256(Prompt.from_pcm(tone(440, 1.0)).samples.astype("<i2").tobytes()).hexdigest()
    assert asking.events == [
        ConsentAnnounced("told.wav", 0.0, 1.0, ("u-carl",), told),
        ConsentGiven("u-carl", "pressed 1", ("u-carl",)),
    ]


async def test_whoever_comes_later_is_told_and_asked_too(asking: Room) -> None:
    """A newcomer closes the recording in the moment of coming."""
    asking.come(CARL)
    await asking.privacy.announce()
    asking.privacy.agree("u-carl", how="pressed 1")
    asking.come(EVE)
    assert (asking.held, asking.privacy.unannounced) == (GapCause.NO_CONSENT, True)


async def test_a_refusal_closes_and_no_resumption_opens(asking: Room) -> None:
    """Who changes their mind ends the recording; the end of a pause does not begin it again."""
    asking.come(CARL)
    await asking.privacy.announce()
    asking.privacy.agree("ana", how="asked him")
    asking.privacy.pause("ana")
    asking.privacy.agree("u-carl", how="said no", given=False)
    assert asking.held is GapCause.MASKED
    asking.privacy.resume("ana")
    assert asking.held is GapCause.NO_CONSENT and ConsentRefused("u-carl", "said no") in asking.events


async def test_in_a_pause_nobody_is_told(asking: Room) -> None:
    """What cannot be said is not tried; it is due again afterwards."""
    asking.come(CARL)
    asking.privacy.pause("ana")
    assert not asking.privacy.unannounced
    asking.privacy.resume("ana")
    assert asking.privacy.unannounced
