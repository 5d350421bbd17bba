"""`Privacy`: whether the media of a call may reach anybody, and who decided so.

It closes the pipeline before any sink, and the gate with it, and keeps the reasons in the call's journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from voki_bots.bots.consent import SOMEBODY, Consent, ConsentPolicy
from voki_bots.bots.gate import Gate
from voki_bots.bots.pauses import Pause, Pauses
from voki_bots.bots.roster import Roster
from voki_bots.calls import (
    CallEvent,
    ConsentAnnounced,
    ConsentGiven,
    ConsentRefused,
    GapCause,
    RecordingPaused,
    RecordingResumed,
)
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Prompt

TIMER = "timer"
"""Who resumes when the time of a pause is over."""


class Room(Protocol):
    """What it needs of its session."""

    gate: Gate
    roster: Roster

    @property
    def pipeline(self) -> Pipeline:
        """Where media of this call go."""

    @property
    def now(self) -> float:
        """Seconds of call time."""

    def publish(self, event: CallEvent) -> None:
        """Record an event and tell everybody."""

    async def say(self, prompt: Prompt) -> float:
        """Speak to everybody through the gate."""


class Privacy:
    """What keeps the media of one call from everybody.

    Args:
        room: The session.
        longest: Seconds after which any pause ends by itself, or None.
        paused: Pauses that an earlier attendance left standing.
        consent: What must have happened before anything is written; nothing if None.
    """

    def __init__(
        self,
        room: Room,
        *,
        longest: float | None = None,
        paused: Iterable[Pause] = (),
        consent: Consent | None = None,
    ) -> None:
        self._room = room
        self._pauses = Pauses(longest)
        self._consent = consent or Consent(ConsentPolicy())
        for pause in paused:
            self._paused(self._pauses.take_up(pause))
        self.look()

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

    def agree(self, by: str, *, how: str, given: bool = True) -> None:
        """Take note that somebody agreed to be recorded, or did not; see `Attendance.consent`."""
        if given:
            of = self._consent.given(by, self._room.roster.present)
            self._room.publish(ConsentGiven(by, how, of))
            self.look()
        else:
            self._consent.refused(by)
            self.look()  # closed first: telling may take a while
            self._room.publish(ConsentRefused(by, how))

    @property
    def consented(self) -> bool:
        """Whether the policy of consent is met."""
        return self._consent.met(self._room.roster.present)

    @property
    def unannounced(self) -> bool:
        """Whether somebody must be told now that the call is recorded."""
        return not self._pauses.standing and bool(self._to_tell())

    async def announce(self) -> None:
        """Tell everybody that the call is recorded.

        Raises:
            SupervisionError: If it could not be said to the end.
            MediaError: If the announcement cannot be read.
        """
        file, to = self._consent.policy.announcement, self._to_tell()
        if file is None:
            return
        prompt = await asyncio.to_thread(Prompt.from_file, file)
        seconds = await self._room.say(prompt)
        self._consent.told(to)
        named, end = tuple(sorted(to - {SOMEBODY})), self._room.now
        self._room.publish(
            ConsentAnnounced(
                prompt.name,
                max(0.0, end - seconds),
                end,
                named,
                await asyncio.to_thread(lambda: prompt.sha256),
            )
        )
        self.look()

    def _to_tell(self) -> set[str]:
        roster, concerned = self._room.roster, self._consent.policy.of
        tracks = [track for track in self._room.pipeline.tracks if not track.local]
        heard = any(roster.who(track).role in concerned for track in tracks)
        sure = heard or any(each.role in concerned for each in roster.announced)
        return self._consent.to_tell(roster.present, sure=sure)

    def renamed(self, former: str, now: str) -> None:
        """Somebody's id became known; what they heard and said is theirs still."""
        self._consent.renamed(former, now)

    def tick(self) -> None:
        """End what is over by now."""
        self._resumed(self._pauses.expired(self._room.now), TIMER)
        self.look()

    def look(self) -> None:
        """Consider whether what is asked for holds for everybody who is there now."""
        self._settle()

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
        """Let the pipeline and the gate be as pauses and consent want them."""
        if self._pauses.standing:
            self._room.pipeline.hold(GapCause.MASKED)
            self._room.gate.pause()
            return
        self._room.gate.resume()
        if self.consented:
            self._room.pipeline.release()
        else:  # the announcement must be heard, but nothing is written
            self._room.pipeline.hold(GapCause.NO_CONSENT)
