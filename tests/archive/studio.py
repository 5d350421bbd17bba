"""A recorded call, made in no time: who said what and when, as the recorder would have left it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voki_bots.archive.folder import CallFolder
from voki_bots.calls import (
    Attribution,
    CallLeft,
    GapCause,
    GapFound,
    Participant,
    ParticipantJoined,
    Role,
    Track,
    TrackAttributed,
    TrackEnded,
    TrackStarted,
)
from voki_bots.media.containers import OggOpusWriter
from voki_bots.testing import packets, tone

RATE = 48_000


@dataclass
class Speech:
    """Somebody's track: samples from `start` on, with holes (spans of call time)."""

    role: str
    samples: np.ndarray
    start: float = 0.0
    who: str | None = None
    segment: int = 0
    holes: Sequence[tuple[float, float]] = ()

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / RATE


def record(folder: CallFolder, speeches: Sequence[Speech], *, duration: float, left: bool = True) -> None:
    """Write tracks and journal of a call; `left` is False for one that was killed."""
    for number, speech in enumerate(speeches, 1):
        track = Track(speech.segment, str(number), number)
        _tell(folder, track, speech)
        _write(folder, track, speech, f"tracks/{speech.role}-{number}.{speech.segment}.opus")
        if left:
            missing = sum(end - start for start, end in speech.holes)
            folder.record(TrackEnded(track, speech.end, len(speech.samples) / RATE - missing))
    if left:
        folder.record(CallLeft("the call ended"), at=duration)


def _tell(folder: CallFolder, track: Track, speech: Speech) -> None:
    person = Participant(speech.who or f"{speech.role}-id", speech.role.title(), Role(speech.role))
    folder.record(TrackStarted(track, speech.start))
    if speech.role != "unknown":
        folder.record(ParticipantJoined(person), at=0.0)
        folder.record(TrackAttributed(track, Attribution(person, 1.0, "msid")))
    if speech.start:
        folder.record(GapFound(track, 0.0, speech.start, GapCause.LATE_JOIN))
    for start, end in speech.holes:
        folder.record(GapFound(track, start, end, GapCause.MUTED))


def _write(folder: CallFolder, track: Track, speech: Speech, path: str) -> None:
    (folder.directory / "tracks").mkdir(mode=0o700, exist_ok=True)
    folder.record("track_file", track=str(track), path=path, codec="opus", start=speech.start)
    writer = OggOpusWriter(folder.directory / path)
    for packet in packets(speech.samples, track, start=0.0):
        at = packet.start + speech.start
        if not any(start <= at + 0.001 < end for start, end in speech.holes):
            writer.write(packet.payload, packet.timestamp, packet.duration)
    writer.close()


def made(desk: Any, speeches: Sequence[Speech], *, duration: float = 4.0, left: bool = True) -> Path:
    """The sealed folder of a call; of one that was killed, the folder that the crash left."""
    folder: CallFolder = desk.open()
    desk.now = duration
    record(folder, speeches, duration=duration, left=left)
    if left:
        folder.seal()
    else:
        folder.close()
    return folder.directory


ATTENDANT = Speech("attendant", tone(440, 3.0), 0.5)
CUSTOMER = Speech("customer", tone(700, 3.0), 1.0)
