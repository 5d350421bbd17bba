"""Tracks that a crash cut off are ended from their files."""

from pathlib import Path
from typing import Any

import pytest

from voki_bots.archive.seal import seal, verify
from voki_bots.calls import GapCause, GapFound, Track, TrackStarted
from voki_bots.media.containers import OggOpusWriter
from voki_bots.media.opus import SILENT_PACKET

TRACK = Track(0, "1", 7)


def killed_call(desk: Any, *spans: tuple[float, float], kept: bool = True) -> Path:
    """A call that was killed after these spans of a track were written; it began at 0.5 s."""
    folder = desk.open()
    desk.now = 0.5
    folder.record(TrackStarted(TRACK, at=0.5))
    folder.record(GapFound(TRACK, 0.0, 0.5, GapCause.LATE_JOIN))
    (folder.directory / "tracks").mkdir()
    path = "tracks/customer-1.0.opus"
    writer = OggOpusWriter(folder.directory / path)
    folder.record("track_file", track=str(TRACK), path=path, codec="opus", start=0.5)
    for start, end in spans:
        for at in range(round(start * 50), round(end * 50)):
            writer.write(SILENT_PACKET, at * 960 - 24_000, 960)
    writer.close()
    if not kept:
        (folder.directory / path).unlink()
    folder.close()
    directory: Path = folder.directory
    return directory


def test_a_track_ends_where_its_file_ends(desk: Any) -> None:
    """After a kill the sealed folder is sound, and says that the end was recovered."""
    directory = killed_call(desk, (0.5, 4.5))
    (track,) = seal(directory)["tracks"]
    assert (track["end"], track["audio"], track["recovered"]) == (4.5, 4.0, True)
    assert verify(directory) == []


def test_what_was_not_written_any_more_is_a_gap(desk: Any) -> None:
    """A hole that no journalled gap explains is listed as `stalled`."""
    directory = killed_call(desk, (0.5, 2.5), (3.5, 4.5))
    sidecar = seal(directory)
    assert sidecar["tracks"][0]["gaps"][1:] == [{"start": 2.5, "end": 3.5, "cause": "stalled"}]
    assert sidecar["invariant"]["ok"]


def test_without_a_file_the_track_stays_cut_off(desk: Any) -> None:
    """Where there is nothing to recover from, the violation is told."""
    assert not seal(killed_call(desk, (0.5, 4.5), kept=False))["invariant"]["ok"]


def test_a_track_of_which_nothing_was_written_yet_has_no_audio(desk: Any) -> None:
    """A kill between the first packet and the first page leaves a track without a file, which adds up."""
    folder = desk.open()
    folder.record("finish_planned", options={})
    folder.record(TrackStarted(TRACK, at=0.5))
    folder.record(GapFound(TRACK, 0.0, 0.5, GapCause.LATE_JOIN))
    folder.close()
    sidecar = seal(folder.directory)
    (track,) = sidecar["tracks"]
    assert (track["end"], track["audio"], track["recovered"], track["file"]) == (0.5, 0.0, True, None)
    assert sidecar["invariant"]["ok"]


def test_a_file_without_a_packet_adds_up_too(desk: Any) -> None:
    """The first packet came some moments before the line of the track's beginning; a kill lost it."""
    folder = desk.open()
    folder.record("finish_planned", options={})
    folder.record(TrackStarted(TRACK, at=0.524))
    folder.record(GapFound(TRACK, 0.0, 0.5, GapCause.LATE_JOIN))
    (folder.directory / "tracks").mkdir()
    path = "tracks/customer-1.0.opus"
    OggOpusWriter(folder.directory / path).close()
    folder.record("track_file", track=str(TRACK), path=path, codec="opus", start=0.5)
    folder.close()
    sidecar = seal(folder.directory)
    (track,) = sidecar["tracks"]
    assert (track["end"], track["audio"]) == (0.524, 0.0)
    assert track["gaps"][1:] == [{"start": 0.5, "end": 0.524, "cause": "stalled"}]
    assert sidecar["invariant"]["ok"]


@pytest.mark.parametrize("stray", [True, False], ids=["audio_of_nobody", "seconds_later"])
def test_a_track_that_lacks_more_than_a_moment_stays_cut_off(desk: Any, stray: bool) -> None:
    """There is audio that the journal gives to no track, or there was time to write some."""
    folder = desk.open()
    folder.record("finish_planned", options={})
    folder.record(TrackStarted(TRACK, at=0.0))
    (folder.directory / "tracks").mkdir()
    writer = OggOpusWriter(folder.directory / "tracks/customer-1.0.opus")
    if stray:
        writer.write(SILENT_PACKET, 0, 960)
    else:
        desk.now = 2.0
        folder.record("track_heard", track=str(TRACK), timestamp=0)
    writer.close()
    folder.close()
    assert not seal(folder.directory)["invariant"]["ok"]


def test_the_next_attendance_ends_what_the_last_could_not(desk: Any) -> None:
    """A bot that comes back to the call seals the tracks of both attendances."""
    killed_call(desk, (0.5, 4.5))
    sidecar = desk.open().seal()
    assert sidecar["invariant"]["ok"]
    assert len(sidecar["attendances"]) == 2


@pytest.mark.parametrize("path", ["../../outside.opus", "/etc/hosts", "events.jsonl", 7])
def test_a_path_in_the_journal_cannot_lead_astray(desk: Any, path: object) -> None:
    """A file outside the folder, or one that is no recording, is not read as a track's."""
    folder = desk.open()
    (desk.root / "outside.opus").write_bytes(b"OggS")
    folder.record(TrackStarted(TRACK, at=0.0))
    folder.record("track_file", track=str(TRACK), path=path, codec="opus", start=0.0)
    assert not folder.seal()["invariant"]["ok"]
