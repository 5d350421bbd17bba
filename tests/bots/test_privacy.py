"""What keeps media from everybody, against the real pipeline and gate."""

from collections.abc import Sequence

from voki_bots.bots.gate import Closing, Gate
from voki_bots.bots.pauses import Pause
from voki_bots.bots.privacy import Privacy
from voki_bots.calls import CallEvent, RecordingPaused, RecordingResumed
from voki_bots.media.pipeline import Pipeline


class Room:
    """The far end: a session whose time the test turns."""

    def __init__(self, paused: Sequence[Pause] = (), longest: float | None = None) -> None:
        self.now = 0.0
        self.events: list[CallEvent] = []
        self.gate = Gate(announces=True)
        self.gate.connected()
        self.gate.arm()
        self.pipeline = Pipeline(clock=lambda: self.now, zero=0.0, report=self.events.append)
        self.privacy = Privacy(self, longest=longest, paused=paused)

    def publish(self, event: CallEvent) -> None:
        self.events.append(event)

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
