"""Everybody's voice ends up in a file of their own."""

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voki_bots_recorder import Recorder, RecorderSettings
from voki_bots_recorder.files import TrackFiles

from voki_bots import FileWriteError
from voki_bots.testing import (
    FakeAttendance,
    assert_silence,
    assert_tone,
    correlation,
    decode,
    packets,
    silence,
    tone,
    with_holes,
)

RECORDER = Recorder(RecorderSettings())


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "tracks").iterdir())


async def test_each_participant_has_a_file_of_their_own(tmp_path: Path) -> None:
    """Two voices are two files named by role; neither is heard in the other's."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        await call.speak(call.join("Ana", role="customer"), tone(440, 1.0))
        await call.speak(call.join("Rui", role="attendant"), tone(880, 1.0))
    assert files(tmp_path) == ["attendant-1.0.opus", "customer-1.0.opus"]
    assert_tone(440, tmp_path / "tracks/customer-1.0.opus", share=0.95)
    assert_tone(880, tmp_path / "tracks/attendant-1.0.opus", share=0.95)


async def test_a_file_sounds_like_what_was_sent(tmp_path: Path) -> None:
    """What is recorded is what was spoken, from its first packet on."""
    said = np.concatenate([tone(300, 0.7), tone(700, 0.7), silence(0.1), tone(500, 0.5)])
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        call.advance(5.0)
        await call.speak(call.join("Ana"), said)
    assert correlation(said, tmp_path / "tracks/customer-1.0.opus", window=0.1) > 0.99


async def test_packets_are_written_as_they_came(tmp_path: Path) -> None:
    """No packet is decoded or changed on its way to the file."""
    from voki_bots.media.containers import read_opus

    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        sent = packets(tone(440, 1.0), call.track())
        await call.feed(sent)
    written = read_opus(tmp_path / "tracks/unknown-1.0.opus")
    assert [payload for _, payload in written] == [packet.payload for packet in sent]


async def test_a_hole_stays_a_hole(tmp_path: Path) -> None:
    """Lost packets leave silence of their length, and what follows is at its own time."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        await call.feed(with_holes(packets(tone(440, 3.0), call.track()), [(1.0, 2.0)]))
    path = tmp_path / "tracks/unknown-1.0.opus"
    assert_silence(path, at=1.2)
    assert_tone(440, path, at=2.2)
    assert len(decode(path)) == 3 * 48_000


async def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    """While the call runs the file is already playable."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        await call.speak(call.join("Ana"), tone(440, 1.0))
        assert_tone(440, tmp_path / "tracks/customer-1.0.opus")


async def test_the_journal_names_each_file(tmp_path: Path) -> None:
    """Opening a file is a line in the journal, with its track and when the file begins."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        call.advance(2.5)
        track = await call.speak(call.join("Ana"), silence(0.1))
    facts = {"track": str(track), "path": "tracks/customer-1.0.opus", "codec": "opus", "start": 2.5}
    assert call.journalled[1:] == [{"type": "track_file", **facts}]


async def test_a_voice_that_is_known_late_gives_the_file_its_name(tmp_path: Path) -> None:
    """A track of nobody's is renamed at the end, and the journal says what it was called."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        track = call.track()
        await call.speak(track, tone(440, 0.5))
        call.attribute(track, call.join("Ana", role="customer"))
    assert files(tmp_path) == ["customer-1.0.opus"]
    assert (call.journalled[-1]["path"], call.journalled[-1]["was"]) == (
        "tracks/customer-1.0.opus",
        "tracks/unknown-1.0.opus",
    )


async def test_nobody_stays_unknown_without_a_guess(tmp_path: Path) -> None:
    """Tracks of which nothing is known are numbered, never given a role."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        for _ in range(2):
            await call.speak(call.track(), silence(0.1))
    assert files(tmp_path) == ["unknown-1.0.opus", "unknown-2.0.opus"]


async def test_a_redial_is_another_file_of_the_same_participant(tmp_path: Path) -> None:
    """The next segment of somebody has the same name and number, and its own segment."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        ana = call.join("Ana")
        for segment in (0, 1):
            await call.speak(call.track(ana, segment=segment), silence(0.1))
    assert files(tmp_path) == ["customer-1.0.opus", "customer-1.1.opus"]


async def test_files_are_private(tmp_path: Path) -> None:
    """Nobody else may listen: the folder is 0700, the file 0600."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        await call.speak(call.join("Ana"), silence(0.1))
    modes = [(tmp_path / each).stat().st_mode & 0o777 for each in ("tracks", "tracks/customer-1.0.opus")]
    assert modes == [0o700, 0o600]


async def test_a_call_in_which_nobody_speaks_has_no_files(tmp_path: Path) -> None:
    """Without a packet nothing is made."""
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        call.join("Ana")
    assert list(tmp_path.iterdir()) == []


async def test_one_file_that_cannot_be_written_does_not_end_the_others(tmp_path: Path) -> None:
    """A track whose file fails is told in journal and log with its path; the others go on."""
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks/attendant-1.0.opus").mkdir()
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        ana, rui = call.join("Ana", role="customer"), call.join("Rui", role="attendant")
        for who in (ana, rui, ana):
            await call.speak(who, tone(440, 0.5))
    assert len(decode(tmp_path / "tracks/customer-1.0.opus")) == 1.5 * 48_000
    failed = [line for line in call.journalled if line["type"] == "track_failed"]
    assert [line["path"] for line in failed] == [str(tmp_path / "tracks/attendant-1.0.opus")]
    assert [event for _, event, _ in call.log.lines] == ["track_failed"]


async def test_if_nothing_can_be_written_the_recorder_says_so(tmp_path: Path) -> None:
    """When no file is left the error comes out and names the path."""
    (tmp_path / "tracks").touch()
    with pytest.raises(FileWriteError, match="tracks cannot be made"):
        async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
            await call.speak(call.join("Ana"), silence(0.1))


async def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """After the call every file is closed."""

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = count()
    async with FakeAttendance(tmp_path) as call, RECORDER.attend(call):
        await call.speak(call.join("Ana"), silence(0.1))
    assert count() == before


async def test_a_disk_that_comes_back_too_late_writes_no_more(tmp_path: Path) -> None:
    """Files that were abandoned are closed by the thread that waited for the disk, and none is begun."""
    async with FakeAttendance(tmp_path) as call:
        files_of_call = TrackFiles(call)
        first, second = (packets(silence(0.02), call.track())[0] for _ in range(2))
        files_of_call.write(first)
        files_of_call.abandon()
        files_of_call.flush()
        files_of_call.write(second)
        await asyncio.wait_for(files_of_call.closed.wait(), 1.0)
    assert files(tmp_path) == ["unknown-1.0.opus"]


@pytest.mark.parametrize(
    ("directory", "problems"),
    [
        (None, 0),
        ("fine/deeper", 0),
        ("file/deeper", 1),
        ("file", 1),
    ],
)
def test_an_unusable_directory_is_told_before_anything_connects(
    tmp_path: Path, directory: Any, problems: int
) -> None:
    """`check` names the directory in one sentence, and makes nothing."""
    (tmp_path / "file").touch()
    wanted = None if directory is None else tmp_path / directory
    found = Recorder(RecorderSettings(directory=wanted)).check()
    assert len(found) == problems and all(str(wanted) in each for each in found)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
