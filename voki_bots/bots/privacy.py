"""`Privacy`: whether the media of a call may reach anybody, and who decided so.

It closes the pipeline before any sink, and the gate with it, and keeps the reasons in the call's journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from voki_bots.bots.gate import Gate
from voki_bots.bots.pauses import Pause, Pauses
from voki_bots.calls import CallEvent, GapCause, RecordingPaused, RecordingResumed
from voki_bots.media.pipeline import Pipeline

TIMER = "timer"
"""Who resumes when the time of a pause is over."""


class Room(Protocol):
    """What it needs of its session."""

    gate: Gate

    @property
    def pipeline(self) -> Pipeline:
        """Where media of this call go."""

    @property
    def now(self) -> float:
        """Seconds of call time."""

    def publish(self, event: CallEvent) -> None:
        """Record an event and tell everybody."""


class Privacy:
    """What keeps the media of one call from everybody.

    Args:
        room: The session.
        longest: Seconds after which any pause ends by itself, or None.
        paused: Pauses that an earlier attendance left standing.
    """

    def __init__(self, room: Room, *, longest: float | None = None, paused: Iterable[Pause] = ()) -> None:
        self._room = room
        self._pauses = Pauses(longest)
        for pause in paused:
            self._paused(self._pauses.take_up(pause))

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """The pauses that have not ended."""
        return self._pauses.standing

    def pause(self, actor: str, *, reason: str = "", seconds: float | None = None) -> Pause:
        """Let nothing reach any file, transcript or listener from now on; see `Attendance.pause`."""
        pause = self._pauses.pause(actor, self._room.now, reason=reason, seconds=seconds)
        self._paused(pause)
        return pause

    def resume(self, actor: str, *, everyone: bool = False) -> None:
        """End the pause of `actor`, or of everyone; media flow again once nobody has one."""
        self._resumed(self._pauses.resume(actor, everyone=everyone), actor)

    def tick(self) -> None:
        """End what is over by now."""
        self._resumed(self._pauses.expired(self._room.now), TIMER)

    def _paused(self, pause: Pause) -> None:
        # Closed first: telling may take a while.
        self._settle()
        self._room.publish(RecordingPaused(pause.actor, self._room.now, pause.reason, pause.until))

    def _resumed(self, ended: list[Pause], actor: str) -> None:
        for pause in ended:
            event = RecordingResumed(actor, self._room.now, pause.actor, self._pauses.actors)
            self._room.publish(event)
        if ended:
            self._settle()

    def _settle(self) -> None:
        """Let the pipeline and the gate be as the pauses want them."""
        if self._pauses.standing:
            self._room.pipeline.hold(GapCause.MASKED)
            self._room.gate.pause()
        else:
            self._room.pipeline.release()
            self._room.gate.resume()
