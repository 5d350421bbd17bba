"""One bot's record of one call, from its first second to its seal."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from voki_bots.archive.journal import read_journal
from voki_bots.archive.seal import seal, verify
from voki_bots.calls import Call, CallLeft, Participant, ParticipantJoined, TrackEnded, TrackStarted
from voki_bots.calls import Track as T
from voki_bots.errors import FileWriteError


def sidecar_of(folder: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder.directory / "call.json").read_bytes())
    return loaded


def test_a_sidecar_exists_from_the_first_moment(desk: Any) -> None:
    """Before anything happened there is an unsealed sidecar that names the call and the bot."""
    sidecar = sidecar_of(desk.open())
    assert (sidecar["tenant"], sidecar["call"], sidecar["bot"]) == ("acme", "c-1", "minutes")
    assert (sidecar["sealed"], sidecar["details"]["customer_name"]) == (False, "Ana")


def test_the_live_sidecar_follows_the_call(desk: Any) -> None:
    """A reader sees a track as soon as it has begun, with its kind."""
    folder = desk.open()
    desk.now = 2.0
    folder.record(TrackStarted(T(0, "1", 7, kind="video"), at=1.9))
    assert [(each["start"], each["kind"]) for each in sidecar_of(folder)["tracks"]] == [(1.9, "video")]


def test_files_of_a_call_are_private(desk: Any) -> None:
    """Journal and sidecar can be read by nobody else."""
    folder = desk.open()
    assert {path.stat().st_mode & 0o777 for path in folder.directory.iterdir()} == {0o600}


def test_a_hostile_call_id_stays_below_the_root(desk: Any) -> None:
    """The folder of `../../x` is where every other folder is, and its sidecar has the true id."""
    folder = desk.open(call=Call("..", "../../x"))
    assert folder.directory.parent.parent == desk.root
    assert sidecar_of(folder)["call"] == "../../x"


def test_a_second_attendance_goes_on_where_the_first_ended(desk: Any) -> None:
    """After a crash, time, segments and the chain go on; nothing is written over."""
    first = desk.open()
    desk.now = 10.0
    first.record(TrackStarted(T(0, "1", 7), at=1.0))
    first.close()
    desk.now = 30.0
    second = desk.open()
    assert (second.directory, second.first_segment, second.attendance) == (first.directory, 1, 2)
    assert second.elapsed == 30.0
    assert sidecar_of(second)["attendances"][1]["at"] == 30.0


def test_what_was_cut_off_is_reported_when_sealed(desk: Any) -> None:
    """A track that a crash ended is a violation in the sealed sidecar, not a secret."""
    first = desk.open()
    first.record(TrackStarted(T(0, "1", 7), at=0.0))
    first.close()
    second = desk.open()
    assert second.seal()["invariant"] == {
        "ok": False,
        "violations": ["track 0:1:7 was cut off: its end was never written"],
    }


def test_two_bots_in_one_call_have_folders_side_by_side(desk: Any) -> None:
    """The second bot does not write into the first one's folder, also after that was closed."""
    first, second = desk.open("minutes"), desk.open("greeter")
    first.close()
    third = desk.open("greeter")
    assert [each.directory.name for each in (first, second, third)] == ["c-1", "c-1~2", "c-1~3"]


def test_the_same_bot_finds_its_own_folder_again(desk: Any) -> None:
    """A bot whose folder is not the first still takes up its own."""
    desk.open("minutes").close()
    desk.open("greeter").close()
    assert desk.open("greeter").directory.name == "c-1~2"


def test_an_unwritable_root_is_one_sentence(desk: Any) -> None:
    """If the root is a file, the error names the path."""
    desk.root.write_text("")
    with pytest.raises(FileWriteError, match=r"cannot write .*archive/acme.*: Not a directory"):
        desk.open()


def test_a_sealed_folder_takes_no_more(desk: Any) -> None:
    """Recording into a sealed folder is an error."""
    folder = desk.open()
    folder.seal()
    with pytest.raises(FileWriteError, match="is closed"):
        folder.record(CallLeft("late"))


def test_a_whole_call_verifies(desk: Any) -> None:
    """A call that was recorded and sealed is sound."""
    folder = desk.open()
    (folder.directory / "tracks").mkdir()
    (folder.directory / "tracks/customer-1.0.opus").write_bytes(b"OggS")
    track = T(0, "1", 7)
    folder.record(TrackStarted(track, at=0.0))
    desk.now = 4.0
    folder.record(TrackEnded(track, at=4.0, audio=4.0))
    folder.record(CallLeft("call ended"))
    sidecar = folder.seal()
    assert (sidecar["sealed"], sidecar["duration"], sidecar["invariant"]["ok"]) == (True, 4.0, True)
    assert verify(folder.directory) == []
    assert read_journal(folder.directory / "events.jsonl")[-1]["type"] == "sealed"


def test_a_flood_of_events_is_kept_but_does_not_write_the_sidecar_each_time(desk: Any) -> None:
    """Every line is in the journal; the live sidecar follows when the flood is over."""
    folder = desk.open()
    for number in range(200):
        folder.record(ParticipantJoined(Participant(f"u{number}")))
    assert len(sidecar_of(folder)["participants"]) < 60
    desk.now = 1.0
    folder.record("anything")
    assert len(sidecar_of(folder)["participants"]) == 200


def test_a_kill_leaves_a_journal_that_holds(desk: Any) -> None:
    """After kill -9 in the middle of writing, chain and sidecar are there and the folder can be sealed."""
    script = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from voki_bots.archive.folder import CallFolder
from voki_bots.calls import Call
clock, wall = lambda: 1.0, lambda: datetime(2026, 3, 1, tzinfo=UTC)
folder = CallFolder.open(Path(sys.argv[1]), Call("acme", "c-1"), "minutes", clock=clock, wall=wall)
print(folder.directory, flush=True)
while True:
    folder.record("beat")
"""
    with subprocess.Popen([sys.executable, "-c", script, desk.root], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        directory = Path(child.stdout.readline().decode().strip())
        while (directory / "events.jsonl").stat().st_size < 20_000:
            pass
        child.kill()
    assert not json.loads((directory / "call.json").read_bytes())["sealed"]
    assert seal(directory)["sealed"]
    assert verify(directory) == []


def test_a_call_over_midnight_keeps_its_folder(desk: Any) -> None:
    """With the date in the template, a bot that comes back after midnight finds its folder of before."""
    desk.root = desk.root / "{tenant}/{date}/{call}"
    desk.now = 11.9 * 3600
    first = desk.open()
    first.close()
    desk.now = 12.1 * 3600
    assert desk.open().directory == first.directory


def test_another_call_of_the_same_id_on_another_day_is_another_folder(desk: Any) -> None:
    """Two days later it is no resumption."""
    desk.root = desk.root / "{tenant}/{date}/{call}"
    first = desk.open()
    first.close()
    desk.now = 48 * 3600.0
    assert desk.open().directory != first.directory
