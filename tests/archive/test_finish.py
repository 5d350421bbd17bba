"""What a call becomes when it is over."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.archive.studio import ATTENDANT, CUSTOMER, RATE, Speech, made
from voki_bots.archive.finish import finish, unfinished
from voki_bots.archive.folder import CallFolder
from voki_bots.archive.journal import read_journal
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.seal import read_call, verify
from voki_bots.errors import FileWriteError
from voki_bots.media.audiofile import read_audio
from voki_bots.testing import assert_silence, assert_tone, correlation, tone

QUICK = FinishOptions(format="wav", rate=16_000, mix=None, participants=False, picture=False)


def hear(path: Path, channel: int | None = None) -> np.ndarray:
    return read_audio(path, RATE, channel=channel)


@pytest.mark.parametrize("format_", ["opus", "flac", "wav"])
def test_attendants_are_left_and_customers_right(desk: Any, format_: str) -> None:
    """Each side is like what was said on it, and has nothing of the other."""
    directory = made(desk, [CUSTOMER, ATTENDANT])
    finish(directory, FinishOptions(format=format_, mix=None, participants=False))
    left, right = (hear(directory / f"stereo.{format_}", channel) for channel in (0, 1))
    assert len(left) == len(right) == 4 * RATE
    said = [np.pad(s.samples, (round(s.start * RATE), 0)) for s in (ATTENDANT, CUSTOMER)]
    assert min(correlation(left, said[0], window=0.02), correlation(right, said[1], window=0.02)) > 0.99
    assert max(correlation(left, said[1]), correlation(right, said[0])) < 0.3


def test_supervisors_bots_and_strangers_are_on_neither_side(desk: Any) -> None:
    """Whoever is neither attendant nor customer is left out of the stereo file, and the sidecar says so."""
    others = [Speech(role, tone(900, 1.0)) for role in ("supervisor", "bot", "unknown")]
    directory = made(desk, [ATTENDANT, *others])
    sidecar = finish(directory, replace(QUICK, rate=48_000))
    assert_silence(hear(directory / "stereo.wav", 1))
    assert_silence(hear(directory / "stereo.wav", 0)[:20_000])
    assert [each["role"] for each in sidecar["finish"]["left_out"]] == ["supervisor", "bot", "unknown"]


def test_a_role_can_be_asked_for(desk: Any) -> None:
    """With the supervisor on the left, both are heard there."""
    directory = made(desk, [ATTENDANT, Speech("supervisor", tone(900, 0.4))])
    finish(directory, replace(QUICK, stereo=(("attendant", "supervisor"), ("customer",))))
    assert_tone(900, hear(directory / "stereo.wav", 0), at=0.05, seconds=0.3)
    assert_tone(440, hear(directory / "stereo.wav", 0), at=1.0)


def test_the_mix_has_both_and_nobody_who_coaches(desk: Any) -> None:
    """Attendant and customer are in the mix, the supervisor is not."""
    directory = made(desk, [ATTENDANT, CUSTOMER, Speech("supervisor", tone(900, 0.4))])
    finish(directory, FinishOptions(stereo=None, participants=False, format="wav"))
    mix = hear(directory / "mix.wav")
    assert_silence(mix[:20_000])
    assert_tone(440, mix, at=0.55, seconds=0.4)
    assert_tone(700, mix, at=3.55, seconds=0.4)


def test_a_participant_is_one_file_over_the_whole_call(desk: Any) -> None:
    """Two segments of a customer and the silence between them are one file as long as the call."""
    again = Speech("customer", tone(600, 1.0), 4.5, segment=1)
    directory = made(desk, [CUSTOMER, again, ATTENDANT], duration=6.0)
    finish(directory, FinishOptions(stereo=None, mix=None, format="flac"))
    names = sorted(path.name for path in (directory / "participants").iterdir())
    assert names == ["attendant-1.flac", "customer-1.flac"]
    customer = hear(directory / "participants/customer-1.flac")
    assert len(customer) == 6 * RATE
    assert_silence(customer, at=0.3)
    assert_tone(700, customer, at=1.5)
    assert_silence(customer, at=4.0, seconds=0.45)
    assert_tone(600, customer, at=4.7)


def test_gaps_are_silence(desk: Any) -> None:
    """Where a track was muted, its side is silent, and what follows is in time."""
    speech = Speech("customer", np.concatenate([tone(440, 2.0), tone(880, 1.0)]), 0.0, holes=[(1.0, 2.0)])
    directory = made(desk, [speech])
    finish(directory, replace(QUICK, rate=48_000))
    right = hear(directory / "stereo.wav", 1)
    assert_tone(440, right, at=0.3)
    assert_silence(right, at=1.05, seconds=0.9)
    assert_tone(880, right, at=2.3)


def test_a_finished_call_is_sealed_with_all_its_files(desk: Any) -> None:
    """Every file is in the seal, private, and nothing is left beside the folder."""
    directory = made(desk, [ATTENDANT, CUSTOMER])
    sidecar = finish(directory)
    names = ["mix.opus", "participants/attendant-1.opus", "participants/customer-1.opus", "stereo.opus"]
    assert {*names, "waveform.svg"} < {each["path"] for each in sidecar["files"]}
    assert verify(directory) == []
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_the_sidecar_says_which_tracks_are_on_which_channel(desk: Any) -> None:
    """Who listens to the stereo file knows whom."""
    finished = finish(made(desk, [CUSTOMER, ATTENDANT]), QUICK)["finish"]
    (stereo,) = finished["outputs"]
    assert (stereo["path"], stereo["channels"]) == ("stereo.wav", [["0:2:2"], ["0:1:1"]])
    assert finished["options"]["format"] == "wav" and finished["problems"] == []


def test_finishing_again_replaces_what_was_made(desk: Any) -> None:
    """Another format takes the place of the first; no file of the first stays."""
    directory = made(desk, [ATTENDANT])
    finish(directory)
    finish(directory, QUICK)
    found = sorted(path.name for path in directory.iterdir())
    assert found == ["call.json", "events.jsonl", "stereo.wav", "tracks"]
    assert verify(directory) == []


def test_what_was_planned_is_made(desk: Any) -> None:
    """Without options the journal's own count."""
    folder = desk.open()
    folder.record("finish_planned", options=QUICK.as_json(), keep=3600)
    folder.seal()
    assert unfinished(read_call(folder.directory).sidecar)  # type: ignore[union-attr]
    sidecar = finish(folder.directory)
    assert [each["path"] for each in sidecar["finish"]["outputs"]] == ["stereo.wav"]
    assert not unfinished(sidecar)


def test_a_call_that_was_killed_is_repaired_and_finished(desk: Any) -> None:
    """What a crash left becomes a sealed call with its files."""
    directory = made(desk, [CUSTOMER], left=False)
    with (directory / "events.jsonl").open("ab") as journal:
        journal.write(b'{"seq":99,"at"')
    finish(directory, replace(QUICK, rate=48_000))
    assert_tone(700, hear(directory / "stereo.wav", 1), at=2.0)
    assert verify(directory) == []


def test_a_running_call_is_not_touched(desk: Any) -> None:
    """While a bot attends, finishing is refused and leaves nothing."""
    folder = desk.open()
    with pytest.raises(FileWriteError, match="being written already"):
        finish(folder.directory)
    assert [path.name for path in folder.directory.parent.iterdir()] == [folder.directory.name]


def test_a_call_that_goes_on_meanwhile_keeps_its_folder(desk: Any) -> None:
    """A bot that comes back while its call is finished wins; nothing of the finish is kept."""
    directory = made(desk, [ATTENDANT])
    back: list[CallFolder] = []

    def progress(share: float) -> None:
        if not back:
            back.append(desk.open())
            back[0].close()

    with pytest.raises(FileWriteError, match="went on while it was being finished"):
        finish(directory, QUICK, progress=progress)
    assert sorted(path.name for path in directory.iterdir()) == ["call.json", "events.jsonl", "tracks"]


def test_two_do_not_finish_one_call_at_once(desk: Any) -> None:
    """The second is refused at once."""
    directory = made(desk, [ATTENDANT])

    def progress(share: float) -> None:
        with pytest.raises(FileWriteError, match="being finished already"):
            finish(directory, QUICK)

    finish(directory, QUICK, progress=progress)


def test_a_file_that_lacks_audio_is_a_violation(desk: Any) -> None:
    """If a file holds less than was received, sidecar and journal say so, and verifying fails."""
    directory = made(desk, [ATTENDANT])
    path = directory / "tracks/attendant-1.0.opus"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sidecar = finish(directory, QUICK)
    (problem,) = sidecar["invariant"]["violations"]
    assert problem.startswith("track 0:1:1 received 3.000 s of audio, tracks/attendant-1.0.opus holds ")
    assert read_journal(directory / "events.jsonl")[-2]["type"] == "invariant_violated"
    assert problem in verify(directory)


_KILLED = """
import os, signal, sys
from pathlib import Path
from voki_bots.archive.finish import finish
from voki_bots.archive import finish as module
steps = int(sys.argv[2])
def count(event, arguments):
    global steps
    if event == "os.rename":
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
finish(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("step", [1, 2, 4, 6])
def test_a_kill_in_the_middle_of_finishing_loses_nothing(desk: Any, step: int) -> None:
    """Killed at any of its renames, the next finish ends with a whole, sealed call."""
    directory = made(desk, [ATTENDANT, CUSTOMER])
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(directory), str(step)], check=False)
    assert ended.returncode == -signal.SIGKILL
    finish(directory)
    assert verify(directory) == []
    assert os.listdir(directory.parent) == [directory.name]  # noqa: PTH208


def test_every_bit_counts(desk: Any) -> None:
    """One flipped bit, in whatever file, is found."""
    directory = made(desk, [ATTENDANT, CUSTOMER], duration=4.0)
    finish(directory)
    for path in [each for each in directory.rglob("*") if each.is_file()]:
        content = path.read_bytes()
        for at in {0, len(content) // 3, len(content) - 1}:
            path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            assert verify(directory), f"{path.name} byte {at}"
        path.write_bytes(content)
    assert verify(directory) == []


def test_the_picture_shows_everybody(desk: Any) -> None:
    """The SVG is XML with a row for each participant, gaps with their cause."""
    from xml.etree import ElementTree

    directory = made(desk, [ATTENDANT, replace(CUSTOMER, who="a<b\x00&")])
    finish(directory)
    text = (directory / "waveform.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "Attendant" in text and "Customer" in text and 'data-cause="late_join"' in text


@pytest.mark.parametrize("format_", ["opus", "flac", "wav"])
def test_a_call_of_no_time_can_be_finished(desk: Any, format_: str) -> None:
    """Killed in its first moment, it is sealed, with files that are empty."""
    folder = desk.open()
    folder.record("finish_planned", options=FinishOptions(format=format_).as_json(), keep=None)
    folder.close()
    finish(folder.directory)
    assert verify(folder.directory) == []


def test_of_a_call_that_nobody_recorded_nothing_is_made(desk: Any) -> None:
    """Without a plan and without tracks there is only the seal."""
    folder = desk.open()
    desk.now = 2.0
    folder.close()
    assert finish(folder.directory)["finish"]["outputs"] == []
    assert verify(folder.directory) == []
