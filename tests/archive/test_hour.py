"""An hour of a call in no time: packets go straight into the recorder's sink."""

import asyncio
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voki_bots_recorder import RecorderSettings
from voki_bots_recorder.files import TrackFiles

from voki_bots import Attribution, Packet, Participant, ParticipantJoined, Role, Track, TrackAttributed
from voki_bots.archive.finish import finish
from voki_bots.archive.folder import CallFolder
from voki_bots.archive.seal import verify
from voki_bots.calls import CallLeft, GapCause, GapFound, TrackEnded, TrackStarted
from voki_bots.media.audiofile import audio_blocks
from voki_bots.media.opus import SILENT_PACKET
from voki_bots.testing import FakeAttendance, packets, tone

HOUR = 3600.0
PACKET = 0.02
RATE = 8_000
MARKS = (1.0, 1800.0, 3590.0)
"""Seconds, by the bot's clock, at which everybody beeps."""

BEEP = [each.payload for each in packets(tone(440, 0.5), Track(0, "0", 0))]


class Recorded(FakeAttendance):
    """A call without a network, whose journal is a real one."""

    def __init__(self, folder: CallFolder) -> None:
        super().__init__(folder.directory)
        self.folder = folder

    def journal(self, event: str, **facts: Any) -> None:
        self.folder.record(event, **facts)


def stream(track: Track, ppm: float, seconds: float, rng: random.Random) -> Iterator[Packet]:
    """What a sender whose clock is slow by `ppm` sends: beeps at `MARKS`, else silence, with jitter."""
    skew = 1.0 + ppm / 1e6
    begins = {round(mark / skew / PACKET) for mark in MARKS}
    beep: list[bytes] = []
    for number in range(int(seconds / skew / PACKET)):
        if number in begins:
            beep = BEEP.copy()
        start = number * PACKET
        delay = 0.030 + rng.expovariate(1 / 0.010)
        payload = beep.pop(0) if beep else SILENT_PACKET
        yield Packet(track, payload, number * 960, number, start, 960, start * skew + delay)


async def record(desk: Any, people: dict[str, float], seconds: float = HOUR) -> Path:
    """Record somebody of each role, whose clock is slow by so many ppm."""
    folder: CallFolder = desk.open()
    desk.now = seconds
    call = Recorded(folder)
    folder.record("finish_planned", options=RecorderSettings().finish.as_json(), keep=None)
    for number, (role, ppm) in enumerate(people.items(), 1):
        track = Track(0, str(number), number)
        person = Participant(role, role, Role(role))
        call.attribute(track, person)
        folder.record(TrackStarted(track, 0.0))
        folder.record(ParticipantJoined(person), at=0.0)
        folder.record(TrackAttributed(track, Attribution(person, 1.0, "msid")))
        files = TrackFiles(call)
        audio = await asyncio.to_thread(_write, files, stream(track, ppm, seconds, random.Random(number)))
        await files.closed.wait()
        folder.record(TrackEnded(track, audio, audio))
        if seconds - audio > 0.0:
            folder.record(GapFound(track, audio, seconds, GapCause.MUTED))
    folder.record(CallLeft("over"), at=seconds)
    folder.seal()
    return folder.directory


def _write(files: TrackFiles, arriving: Iterator[Packet]) -> float:
    count = 0
    for packet in arriving:
        files.write(packet)
        count += 1
        if count % 50 == 0:
            files.flush()
    files.close()
    return count * PACKET


def beeps(path: Path, channel: int) -> list[float]:
    """When each beep begins, in seconds."""
    found, position, loud_until = [], 0, -1.0
    for block in audio_blocks(path, RATE):
        loud = np.flatnonzero(np.abs(block[:, channel].astype(np.int32)) > 3000)
        for at in (position + loud) / RATE:
            if at > loud_until + 1.0:
                found.append(float(at))
            loud_until = max(loud_until, float(at))
        position += len(block)
    return found


@pytest.mark.timeout(180)
async def test_an_hour_of_a_skewed_clock_stays_within_twenty_milliseconds(desk: Any) -> None:
    """100 ppm are 360 ms after an hour: every beep is within 20 ms of when it was made."""
    directory = await record(desk, {"customer": 100.0})
    options = RecorderSettings(format="wav", rate=8_000, mix=False, participants=False).finish
    sidecar = await asyncio.to_thread(finish, directory, options)
    assert beeps(directory / "stereo.wav", 1) == pytest.approx(MARKS, abs=0.020)
    assert sidecar["tracks"][0]["clock"]["ppm"] == pytest.approx(100, abs=3)
    assert sidecar["invariant"]["ok"] and verify(directory) == []


async def test_memory_does_not_grow_with_the_call(desk: Any) -> None:
    """Finishing six minutes takes no more memory than finishing one."""
    peaks = []
    for seconds in (60.0, 360.0):
        desk.root = desk.root.with_name(f"archive-{seconds:.0f}")
        desk.now = 0.0
        directory = await record(desk, {"attendant": 0.0, "customer": 50.0}, seconds)
        options = RecorderSettings(format="wav", rate=8_000).finish
        tracemalloc.start()
        await asyncio.to_thread(finish, directory, options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3 + 500_000
