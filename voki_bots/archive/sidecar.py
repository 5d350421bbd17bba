"""The sidecar of a call, ``call.json``: what happened, as one JSON object. Pure.

It is a fold of the journal and of nothing else, so it can be made again at any time, whatever a crash
left. Lines of plugins and types that are not known here are passed over; a line with missing or mistyped
facts changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from voki_bots.archive.facts import ClockFit, Person, SidecarTrack, until
from voki_bots.archive.journal import GENESIS

VERSION = 1
"""The version of the sidecar's shape."""

_UNFINISHED: Final[dict[str, Any]] = {
    "at": None,
    "options": None,
    "outputs": [],
    "left_out": [],
    "problems": [],
}
"""What the sidecar says of finishing until it has happened."""


def snake(name: str) -> str:
    """Turn the name of an event's class into a journal type: ``TrackStarted`` → ``track_started``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def fold(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the sidecar of a journal."""
    folding = Fold()
    for line in lines:
        folding.take(line)
    return folding.result()


class Fold:
    """The sidecar in the making: take lines one by one, ask for the result at any time."""

    def __init__(self) -> None:
        self._lines = 0
        self._head = GENESIS
        self._now = 0.0
        self._facts: dict[str, Any] = {"call": None, "tenant": None, "bot": None, "details": {}}
        self._started: str | None = None
        self._ended: str | None = None
        self._end: float | None = None
        self._reason: str | None = None
        self._user: str | None = None
        self._attendances: list[dict[str, Any]] = []
        self._people: dict[str, Person] = {}
        self._tracks: dict[str, SidecarTrack] = {}
        self._heard: dict[str, tuple[int, float]] = {}
        self._gone: set[str] = set()
        self._earlier: set[str] = set()
        self._segments: dict[int, dict[str, Any]] = {}
        self._masks: list[dict[str, Any]] = []
        self._paused: dict[str, dict[str, Any]] = {}
        self.consents: list[dict[str, Any]] = []
        self.announcements: list[dict[str, Any]] = []
        self._supervision: list[dict[str, Any]] = []
        self._dropped: dict[tuple[str, str], int] = {}
        self._lacking: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._writers: dict[str, str] = {}
        self._detached: list[dict[str, Any]] = []
        self._files: list[dict[str, Any]] = []
        self._clocks: dict[str, ClockFit] = {}
        self._versions: dict[str, str] = {}
        self._finish: dict[str, Any] = {"planned": None, **_UNFINISHED}
        self._keep: float | None = None
        self._recipients: list[str] = []
        self._holds: list[dict[str, Any]] = []
        self._sealed = False

    def take(self, line: Mapping[str, Any]) -> None:
        """Take the next line of the journal."""
        self._lines += 1
        self._head = line.get("hash", self._head)
        self._sealed = line.get("type") == "sealed"
        at = line.get("at")
        if not isinstance(at, int | float):
            return
        self._now = max(self._now, at)
        if (step := _STEPS.get(line["type"])) is not None:
            try:
                step(self, line)
            except (KeyError, TypeError, ValueError, AttributeError):
                return

    @property
    def first_free_segment(self) -> int:
        """The lowest segment number above all that were used."""
        used = [*self._segments, *(int(track.partition(":")[0]) for track in self._tracks)]
        return max(used, default=-1) + 1

    @property
    def now(self) -> float:
        """The latest call time that any line names."""
        return self._now

    @property
    def started(self) -> str | None:
        """When the first attendance began, ISO 8601."""
        return self._started

    @property
    def attendances(self) -> int:
        """How often the bot came to the call."""
        return len(self._attendances)

    @property
    def paused(self) -> list[dict[str, Any]]:
        """Pauses that nobody ended, as ``actor``, ``reason``, ``until``: they outlive an attendance."""
        return list(self._paused.values())

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Whose voices were heard, of those who have not left, and an RTP timestamp of each with its time."""
        return [
            {"track": name, "person": person, "confidence": track.confidence, "timestamp": stamp, "at": at}
            for name, (stamp, at) in self._heard.items()
            if (track := self._tracks.get(name)) is not None
            and (person := self._people.get(track.participant or "")) is not None
            and person.id not in self._gone
        ]

    @property
    def sealed(self) -> bool:
        """Whether nothing happened since the folder was sealed."""
        return self._sealed

    def result(self) -> dict[str, Any]:
        """Make the sidecar of the lines taken so far."""
        duration = self._end if self._end is not None else self._now
        over = self._ended is not None or self._sealed
        tracks = [self._as_written(track) for track in self._tracks.values()]
        violations = [
            each for track in tracks for each in track.violations(over=over or track.id in self._earlier)
        ]
        violations += self._finish["problems"]
        return {
            "version": VERSION,
            **self._facts,
            "user": self._user,
            "started": self._started,
            "ended": self._ended,
            "duration": duration,
            "reason": self._reason,
            "attendances": self._attendances,
            "participants": [_fields(each) for each in self._people.values()],
            "segments": [self._segments[number] for number in sorted(self._segments)],
            "tracks": [_fields(each) for each in tracks],
            "masks": self._masks,
            "announcements": self.announcements,
            "consents": self.consents,
            "supervision": self._supervision,
            "dropped": [
                {"plugin": plugin, "track": track, "count": count}
                for (plugin, track), count in self._dropped.items()
            ],
            "plugins_detached": self._detached,
            "versions": self._versions,
            "finish": self._finish,
            "encryption": {"recipients": self._recipients} if self._recipients else None,
            "retention": {"keep": self._keep, "until": until(self._ended or self._started, self._keep)},
            "holds": self._holds,
            "files": self._files,
            "journal": {"lines": self._lines, "head": self._head},
            "sealed": self._sealed,
            "invariant": {"ok": not violations, "violations": violations},
        }

    # ---------------------------------------------------------------- one step for each type of line

    def _attendance_opened(self, line: Mapping[str, Any]) -> None:
        self._close_open_ends()
        self._earlier.update(self._tracks)
        self._facts |= {"call": line["call"], "tenant": line["tenant"], "bot": line["bot"]}
        self._facts["details"] = line.get("details", {})
        self._started = self._started or line["utc"]
        self._ended = self._end = self._reason = None
        self._finish = self._finish | _UNFINISHED
        self._attendances.append({"at": line["at"], "started": line["utc"], "ended": None, "reason": None})
        self._versions |= {str(name): str(each) for name, each in line.get("software", {}).items()}

    def _call_joined(self, line: Mapping[str, Any]) -> None:
        self._user = line["user_id"]
        self._facts["details"] = self._facts["details"] | {
            name: value for name, value in line["call"].items() if value is not None
        }

    def _call_ended(self, line: Mapping[str, Any]) -> None:
        self._reason = str(line["reason"])

    def _call_left(self, line: Mapping[str, Any]) -> None:
        self._reason = self._reason or str(line["reason"])
        self._ended, self._end = line["utc"], line["at"]
        if self._attendances:
            self._attendances[-1] |= {"ended": line["utc"], "reason": self._reason}
        self._close_open_ends()

    def _participant_joined(self, line: Mapping[str, Any]) -> None:
        said = line["participant"]
        person = self._person(said)
        if said.get("present", True):
            person.enter(line["at"])
            self._gone.discard(person.id)

    def _participant_left(self, line: Mapping[str, Any]) -> None:
        person = self._person(line["participant"])
        person.leave(line["at"])
        self._gone.add(person.id)

    def _person(self, said: Mapping[str, Any]) -> Person:
        """Find or add somebody; who was known by role and name alone is found by them, and gets the id."""
        id_, name, role = said["id"], said["name"], said["role"]
        found = self._people.get(id_) or self._people.pop(f"{role}:{name}", None) or Person(id_)
        self._people[id_] = found
        found.id, found.name = id_, name or found.name
        found.role = role if role != "unknown" else found.role
        return found

    def _track_started(self, line: Mapping[str, Any]) -> None:
        track = self._track(line)
        track.start = line["at"] if track.start is None else track.start
        track.kind = line.get("kind", track.kind)
        track.local = bool(line.get("local", track.local))

    def _track_ended(self, line: Mapping[str, Any]) -> None:
        track = self._track(line)
        track.end, track.audio = float(line["at"]), float(line["audio"])
        track.recovered = bool(line.get("recovered", False))

    def _track_attributed(self, line: Mapping[str, Any]) -> None:
        said, track = line["attribution"], self._track(line)
        person = self._person(said["participant"]) if said["participant"] else None
        track.participant = person.id if person else None
        track.role = person.role if person else "unknown"
        track.confidence, track.why = said["confidence"], said["why"]

    def _track_heard(self, line: Mapping[str, Any]) -> None:
        self._heard[str(line["track"])] = int(line["timestamp"]), float(line["at"])

    def _track_file(self, line: Mapping[str, Any]) -> None:
        track = self._track(line)
        self._writers[track.id] = str(line.get("plugin", ""))
        track.file, track.codec = line["path"], line["codec"]
        track.file_start = line.get("start", track.file_start)

    def _gap_found(self, line: Mapping[str, Any]) -> None:
        start, end = float(line["start"]), float(line["end"])
        track = self._track(line)
        gap = {"start": start, "end": end, "cause": str(line["cause"])}
        if line.get("plugin"):  # missing to one plugin alone; `_as_written` says whether that is the file's
            self._lacking.setdefault((track.id, str(line["plugin"])), []).append(gap)
            return
        track.gaps.append(gap)
        # A track that ended with its segment goes on as a gap, if nothing took its place.
        track.end = None if track.end is None else max(track.end, end)

    def _clock_measured(self, line: Mapping[str, Any]) -> None:
        track = self._track(line)
        fit = self._clocks.setdefault(track.id, ClockFit())
        fit.take(float(line["position"]), float(line["late"]))
        track.clock = fit.result()

    def _sender_clock(self, line: Mapping[str, Any]) -> None:
        self._track(line).sync.append([float(line["ntp"]), float(line["position"])])

    def _finish_planned(self, line: Mapping[str, Any]) -> None:
        self._finish = self._finish | {"planned": dict(line["options"])}
        self._recipients = [str(each) for each in line.get("recipients", ())]
        self._keep = None if line.get("keep") is None else float(line["keep"])

    def _finish_begun(self, _: Mapping[str, Any]) -> None:
        self._finish = self._finish | _UNFINISHED

    def _finished(self, line: Mapping[str, Any]) -> None:
        made = {name: line[name] for name in _UNFINISHED if name != "at"}
        self._finish = self._finish | {"at": line["utc"]} | made
        self._versions |= {str(name): str(each) for name, each in line.get("software", {}).items()}

    def _hold_placed(self, line: Mapping[str, Any]) -> None:
        hold = {"at": line["utc"], "by": line["by"], "reason": line["reason"]}
        self._holds.append(hold | {"released": None, "released_by": None})

    def _hold_released(self, line: Mapping[str, Any]) -> None:
        for hold in self._holds:
            if hold["released"] is None:
                hold |= {"released": line["utc"], "released_by": line["by"]}

    def _packets_dropped(self, line: Mapping[str, Any]) -> None:
        key = (line["plugin"], line["track"])
        self._dropped[key] = self._dropped.get(key, 0) + int(line["count"])

    def _media_connected(self, line: Mapping[str, Any]) -> None:
        segment = int(line["segment"])
        self._segments[segment] = {
            "segment": segment,
            "connected": line["at"],
            "lost": None,
            "cause": None,
        }

    def _media_lost(self, line: Mapping[str, Any]) -> None:
        segment = int(line["segment"])
        found = self._segments.setdefault(segment, {"segment": segment, "connected": None})
        found |= {"lost": line["at"], "cause": line["cause"]}

    def _recording_paused(self, line: Mapping[str, Any]) -> None:
        actor, until = str(line["actor"]), line.get("until")
        facts = {"actor": actor, "reason": str(line.get("reason", "")), "until": until}
        self._paused[actor] = facts
        open_ = [mask for mask in self._masks if mask["actor"] == actor and mask["end"] is None]
        if open_:
            open_[-1].update(facts)
        else:
            self._masks.append({"start": line["at"], "end": None, **facts})

    def _recording_resumed(self, line: Mapping[str, Any]) -> None:
        owner = line.get("paused_by") or next(reversed(self._paused))
        self._paused.pop(owner, None)
        for mask in self._masks:
            if mask["actor"] == owner and mask["end"] is None:
                mask |= {"end": line["at"], "resumed_by": line["actor"]}

    def _consent_announced(self, line: Mapping[str, Any]) -> None:
        said = {"prompt": str(line["prompt"]), "to": [str(each) for each in line["to"]]}
        said["sha256"] = str(line.get("sha256", ""))
        self.announcements.append({"start": line["start"], "end": line["end"], **said})

    def _consent_given(self, line: Mapping[str, Any]) -> None:
        said = {"at": line["at"], "by": line["by"], "how": line["how"], "of": list(line.get("of", ()))}
        self.consents.append(said | {"given": line["type"] == "consent_given"})

    def _supervision_started(self, line: Mapping[str, Any]) -> None:
        self._supervision.append(
            {
                "mode": line["mode"],
                "supervisor": line["supervisor_id"],
                "name": line.get("supervisor_name", ""),
                "start": line["at"],
                "end": None,
            }
        )

    def _supervision_stopped(self, line: Mapping[str, Any]) -> None:
        for each in self._supervision:
            same = each["supervisor"] == line["supervisor_id"] or not line["supervisor_id"]
            if each["end"] is None and each["mode"] == line["mode"] and same:
                each["end"] = line["at"]

    def _plugin_detached(self, line: Mapping[str, Any]) -> None:
        self._detached.append({"plugin": line["plugin"], "why": line["why"], "at": line["at"]})

    def _sealed_up(self, line: Mapping[str, Any]) -> None:
        self._files = list(line["files"])

    def _track(self, line: Mapping[str, Any]) -> SidecarTrack:
        name = line["track"]
        int(name.partition(":")[0])
        return self._tracks.setdefault(name, SidecarTrack(name))

    def _as_written(self, track: SidecarTrack) -> SidecarTrack:
        """A track as its file has it: what its writer did not keep up with is missing there."""
        lacking = self._lacking.get((track.id, self._writers.get(track.id, "")))
        if not lacking:
            return track
        audio = track.audio
        if audio is not None and not track.recovered:  # what was recovered was read from the file
            audio -= sum(gap["end"] - gap["start"] for gap in lacking)
        gaps = sorted([*track.gaps, *lacking], key=lambda gap: float(gap["start"]))
        return replace(track, audio=audio, gaps=gaps)

    def _close_open_ends(self) -> None:
        """Nobody is known to be there, and nothing to be masked, beyond the end of an attendance."""
        for person in self._people.values():
            person.leave(self._now)
        for each in (*self._masks, *self._supervision):
            each["end"] = self._now if each["end"] is None else each["end"]


_STEPS: Final[Mapping[str, Callable[[Fold, Mapping[str, Any]], None]]] = {
    "attendance_opened": Fold._attendance_opened,
    "call_joined": Fold._call_joined,
    "call_ended": Fold._call_ended,
    "call_left": Fold._call_left,
    "participant_joined": Fold._participant_joined,
    "participant_left": Fold._participant_left,
    "track_started": Fold._track_started,
    "track_ended": Fold._track_ended,
    "track_attributed": Fold._track_attributed,
    "track_file": Fold._track_file,
    "track_heard": Fold._track_heard,
    "gap_found": Fold._gap_found,
    "packets_dropped": Fold._packets_dropped,
    "media_connected": Fold._media_connected,
    "media_lost": Fold._media_lost,
    "recording_paused": Fold._recording_paused,
    "recording_resumed": Fold._recording_resumed,
    "consent_announced": Fold._consent_announced,
    "consent_given": Fold._consent_given,
    "consent_refused": Fold._consent_given,
    "supervision_started": Fold._supervision_started,
    "supervision_stopped": Fold._supervision_stopped,
    "plugin_detached": Fold._plugin_detached,
    "clock_measured": Fold._clock_measured,
    "sender_clock": Fold._sender_clock,
    "finish_planned": Fold._finish_planned,
    "finish_begun": Fold._finish_begun,
    "finished": Fold._finished,
    "hold_placed": Fold._hold_placed,
    "hold_released": Fold._hold_released,
    "sealed": Fold._sealed_up,
}


def _fields(each: Person | SidecarTrack) -> dict[str, Any]:
    return {name: getattr(each, name) for name in each.__slots__}
