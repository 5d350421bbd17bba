"""The folder of one call while a bot attends it: journal, sidecar and seal, tied together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol, Self

from voki_bots.archive.journal import Journal, parse_journal
from voki_bots.archive.layout import JOURNAL, call_directory, make_directory, numbered
from voki_bots.archive.seal import seal_with, write_sidecar
from voki_bots.archive.sidecar import VERSION, Fold, snake
from voki_bots.calls import Call, TrackStarted, as_json
from voki_bots.errors import FileWriteError

BURST = 50
"""How often the live sidecar may be written anew in quick succession."""

RATE = 2.0
"""How often a second it may be written anew in the long run."""

_MOST = 100
_TELLING: Final = frozenset(
    {
        "attendance_opened",
        "call_joined",
        "call_left",
        "consent_announced",
        "consent_given",
        "consent_refused",
        "media_connected",
        "media_lost",
        "participant_joined",
        "participant_left",
        "plugin_detached",
        "recording_paused",
        "recording_resumed",
        "track_attributed",
        "track_ended",
        "track_file",
        "track_started",
    }
)
"""The lines after which the unsealed sidecar is written anew, so that a reader sees the call as it is."""


class Remembers(Protocol):
    """What takes up what is known of consent."""

    def told(self, to: Iterable[str]) -> None:
        """These were told."""

    def taken_up(self, by: str, of: Iterable[str]) -> None:
        """This one agreed, for these."""

    def refused(self, by: str) -> None:
        """This one refused."""


class CallFolder:
    """One bot's record of one call. Made by `open`; `record` may be called from any thread.

    A bot that comes to the same call again (after a crash, say) takes up the same folder: the journal goes
    on, its call time goes on at `elapsed`, and its segments at `first_segment`, so nothing that was written
    is written over. Another bot in the same call has a folder of its own beside it, ``<call>~2``.

    Attributes:
        directory: The folder.
        elapsed: Seconds since the first attendance began, 0.0 if this is the first. The session's call
            time must start here: the folder has one timeline.
        first_segment: The number of the first segment of this attendance.
        heard: Whose voices were heard before, on which clock; see `Fold.heard`.
        attendance: 1 for the first, 2 for the second, ...
    """

    def __init__(
        self,
        directory: Path,
        call: Call,
        bot: str,
        *,
        clock: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self.directory = directory
        self.elapsed = 0.0
        self._lock = threading.RLock()
        self._fold = Fold()
        self._stale = False
        self._budget = float(BURST)
        self._earned = 0.0
        self._journal = Journal(directory / JOURNAL, clock=lambda: max(clock(), self.elapsed), wall=wall)
        try:
            self._take_up(wall())
            self.record(
                "attendance_opened",
                version=VERSION,
                tenant=call.tenant,
                call=call.call_id,
                bot=bot,
                number=self.attendance,
                details=asdict(call),
                software={"voki_bots": version("voki-bots")},
            )
        except BaseException:
            self._journal.close()
            raise

    def _take_up(self, now: datetime) -> None:
        """Find out from the journal where an earlier attendance ended."""
        for line in self._journal.found:
            self._fold.take(line)
        self._journal.found.clear()
        self.heard = self._fold.heard
        self.first_segment = self._fold.first_free_segment
        self.attendance = self._fold.attendances + 1
        if (started := self._fold.started) is not None:
            since = (now - datetime.fromisoformat(started)).total_seconds()
            self.elapsed = round(max(since, self._fold.now), 6)

    @classmethod
    def open(
        cls,
        root: Path,
        call: Call,
        bot: str,
        *,
        clock: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> Self:
        """Make the folder of a call, or take up this bot's own from before, with an unsealed sidecar in it.

        Args:
            root: Where the archive is; it may end in a template of names (see `layout.split_template`).
            call: Its tenant and id may be anything; the folder is always below `root`, by default two
                levels.
            bot: The name of the bot.
            clock: Gives seconds of call time. What it gives below `elapsed` counts as `elapsed`.
            wall: Gives the time in UTC.

        Raises:
            FileWriteError: If the disk does not let us.
        """
        days = [(wall() - timedelta(days=ago)).date().isoformat() for ago in (0, 1)]
        directory, *earlier = [call_directory(root, *call.key, bot=bot, date=day) for day in days]
        owner = (call.tenant, call.call_id, bot)
        for number in range(1, _MOST + 1):
            candidate = numbered(directory, number)
            # A call that was joined before midnight is still the same call after it.
            for before in (numbered(each, number) for each in earlier if each != directory):
                if not candidate.exists() and _owner(before) == owner:
                    candidate = before
            make_directory(candidate)
            if _owner(candidate) in (None, owner):
                try:
                    return cls(candidate, call, bot, clock=clock, wall=wall)
                except FileWriteError as error:
                    if not isinstance(error.__cause__, BlockingIOError):
                        raise
        raise FileWriteError(f"{directory} has {_MOST} folders beside it in use", path=str(directory))

    @property
    def paused(self) -> list[dict[str, Any]]:
        """The pauses that are standing, those of before a crash too; see `Fold.paused`."""
        return self._fold.paused

    def remember(self, consent: Remembers) -> None:
        """Tell who was told of the recording, who agreed and who did not, before a crash and since."""
        for each in self._fold.announcements:
            consent.told(each["to"])
        for each in self._fold.consents:
            if each["given"]:
                consent.taken_up(each["by"], each["of"])
            else:
                consent.refused(each["by"])

    def record(self, event: object, /, **facts: Any) -> None:
        """Append an event, or a line whose type is the text `event`, to the journal.

        Raises:
            FileWriteError: If the disk does not let us, or the folder is sealed or closed.
        """
        if isinstance(event, str):
            type_ = event
        else:
            said = as_json(event)
            type_ = snake(type(event).__name__)
            said.pop("type", None)
            if isinstance(event, TrackStarted):
                said |= {"kind": event.track.kind, "local": event.track.local}
            facts = said | facts
        with self._lock:
            self._fold.take(self._journal.append(type_, **facts))
            self._stale |= type_ in _TELLING
            if self._stale and self._may_write():
                write_sidecar(self.directory, self._fold.result(), durable=False)
                self._stale = False

    def _may_write(self) -> bool:
        """Bound what a flood of events costs: `BURST` writes at once, `RATE` a second in the long run."""
        earned = max(self._fold.now - self._earned, 0.0) * RATE
        self._budget = min(self._budget + earned, float(BURST))
        self._earned = self._fold.now
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True

    def seal(self) -> dict[str, Any]:
        """Finish the folder and close it; nothing can be recorded any more. See `voki_bots.archive.seal`.

        It reads every file: call it off the event loop, after the last sink was closed.

        Returns:
            The sidecar.

        Raises:
            FileWriteError: If the disk does not let us.
        """
        with self._lock:
            try:
                return seal_with(self._journal, self.directory)
            finally:
                self._journal.close()

    def close(self) -> None:
        """Let go of the folder without sealing it. It may be called twice."""
        self._journal.close()


def _owner(directory: Path) -> tuple[object, object, object] | None:
    """Tell whose folder it is by its journal's first line, or None if nobody has begun it."""
    try:
        with (directory / JOURNAL).open("rb") as file:
            first = parse_journal(file.readline())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileWriteError(f"{directory} cannot be read: {error.strerror}", path=str(directory)) from error
    line = first[0] if first else {}
    return (line["tenant"], line["call"], line["bot"]) if line.get("type") == "attendance_opened" else None
