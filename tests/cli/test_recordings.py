"""Looking at an archive."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.archive.test_composite import filmed
from voki_bots.archive.folder import CallFolder
from voki_bots.archive.retention import Archive
from voki_bots.calls import (
    Attribution,
    Call,
    CallJoined,
    CallLeft,
    ConsentAnnounced,
    ConsentGiven,
    ConsentRefused,
    GapCause,
    GapFound,
    Participant,
    ParticipantJoined,
    RecordingPaused,
    RecordingResumed,
    Role,
    Track,
    TrackAttributed,
    TrackEnded,
    TrackStarted,
)
from voki_bots.cli.picture import row
from voki_bots.media.audiofile import read_audio
from voki_bots.media.containers import OggOpusWriter
from voki_bots.media.opus import Encoder
from voki_bots.testing import assert_silence, assert_tone

ANA = Participant("u-1", "Ana\x1b[2J", Role.CUSTOMER)
TRACK = Track(0, "1", 4711)


def speak(path: Path, spans: list[tuple[float, float]]) -> None:
    """Write a tone at each span of seconds; between them there are no packets."""
    encoder, writer = Encoder(48_000), OggOpusWriter(path)
    for start, end in spans:
        for at in range(round(start * 50), round(end * 50)):
            time = (np.arange(960) + at * 960) / 48_000
            pcm = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
            writer.write(encoder.encode(pcm), at * 960, 960)
    writer.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Ten seconds of a call: Ana is on a track from 2 s on, speaks, is lost from 4 s to 6 s, speaks."""
    now = 0.0
    folder = CallFolder.open(
        tmp_path / "archive",
        Call("acme", "5f3c"),
        "minutes",
        clock=lambda: now,
        wall=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=now),
    )
    folder.record(CallJoined(Call("acme", "5f3c"), "u-bot"))
    folder.record(ParticipantJoined(ANA))
    now = 2.0
    folder.record(TrackStarted(TRACK, 2.0))
    folder.record(GapFound(TRACK, 0.0, 2.0, GapCause.LATE_JOIN))
    folder.record(TrackAttributed(TRACK, Attribution(ANA, 0.8, "elimination")))
    folder.record("track_file", track=str(TRACK), path="tracks/customer-1.0.opus", codec="opus", start=2.0)
    (folder.directory / "tracks").mkdir(mode=0o700)
    speak(folder.directory / "tracks/customer-1.0.opus", [(0, 2), (4, 8)])
    now = 10.0
    folder.record(GapFound(TRACK, 4.0, 6.0, GapCause.LOST))
    folder.record(TrackEnded(TRACK, 10.0, 6.0))
    folder.record(CallLeft("the call ended: completed"))
    folder.seal()
    return tmp_path / "archive"


def test_list_names_every_call(voki_bots: Any, archive: Path) -> None:
    """One object for each call, with what one wants to know first."""
    (call,) = json.loads(voki_bots("recordings", "list", archive, "--json").stdout)
    assert {
        name: call[name] for name in ("tenant", "call", "bot", "duration", "sealed", "sound", "tracks")
    } == {
        "tenant": "acme",
        "call": "5f3c",
        "bot": "minutes",
        "duration": 10.0,
        "sealed": True,
        "sound": True,
        "tracks": 1,
    }


@pytest.mark.parametrize("below", ["", "acme", "acme/5f3c"])
def test_a_folder_of_any_depth_will_do(voki_bots: Any, archive: Path, below: str) -> None:
    """DIR is an archive, a tenant in it, or one call."""
    assert len(json.loads(voki_bots("recordings", "list", archive / below, "--json").stdout)) == 1


def test_the_table_shows_the_call(voki_bots: Any, archive: Path) -> None:
    """Without `--json` there is a table for people."""
    said = voki_bots("recordings", "list", archive).stdout
    assert all(word in said for word in ("5f3c", "acme", "0:10", "sealed"))


def test_the_picture_shows_speech_and_gaps(voki_bots: Any, archive: Path) -> None:
    """One sign a second: late, late, loud, loud, lost, lost, loud …"""
    said = voki_bots("recordings", "show", archive, "--width", "10").stdout
    (drawn,) = [line[-10:] for line in said.splitlines() if line.startswith(r"Ana\x1b[2J ") and "--" in line]
    assert (drawn[:2], set(drawn[2:4]) | set(drawn[6:]), drawn[4:6]) == ("--", {"▇"}, "xx")


def test_names_from_the_network_cannot_control_the_terminal(voki_bots: Any, archive: Path) -> None:
    """An escape sequence in a name is shown, not obeyed."""
    assert "\x1b" not in voki_bots("recordings", "show", archive).stdout


def test_show_lists_gaps_and_files(voki_bots: Any, archive: Path) -> None:
    """Each gap with its cause, each file with its checksum."""
    said = voki_bots("recordings", "show", archive).stdout
    assert "4.00 –     6.00 s  lost" in said and "tracks/customer-1.0.opus" in said


def test_a_sidecar_cannot_make_us_read_elsewhere(voki_bots: Any, archive: Path) -> None:
    """A file outside the call's folder is not opened, whatever the sidecar says."""
    sidecar = archive / "acme/5f3c/call.json"
    sidecar.write_text(sidecar.read_text().replace("tracks/customer-1.0.opus", "../../../../etc/passwd"))
    assert "~~xx~~~~" in voki_bots("recordings", "show", archive, "--width", "10").stdout


def test_verify_is_0_if_all_holds(voki_bots: Any, archive: Path) -> None:
    """An untouched archive is sound."""
    said = voki_bots("recordings", "verify", archive)
    assert (said.exit_code, said.stdout.split()[0]) == (0, "ok")


def test_verify_names_what_was_changed(voki_bots: Any, archive: Path) -> None:
    """One changed byte is exit code 1, and the file is named."""
    file = archive / "acme/5f3c/tracks/customer-1.0.opus"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    said = voki_bots("recordings", "verify", archive)
    assert (said.exit_code, "tracks/customer-1.0.opus was changed" in said.stdout) == (1, True)


@pytest.mark.parametrize("command", ["list", "show", "verify"])
def test_a_directory_that_is_not_there_is_usage(voki_bots: Any, command: str) -> None:
    """A mistyped DIR is told as such."""
    said = voki_bots("recordings", command, "nowhere")
    assert (said.exit_code, said.stderr) == (2, "error: DIR: there is no directory 'nowhere'\n")


def test_there_is_nothing_to_prove_in_an_empty_directory(voki_bots: Any, tmp_path: Path) -> None:
    """`verify` does not call sound what is not there."""
    assert voki_bots("recordings", "verify", tmp_path).exit_code == 2


# ---------------------------------------------------------------- repair, finish, export, purge, erase, hold


@pytest.fixture
def killed(archive: Path) -> Path:
    """The same call, as a crash left it: without seal, sidecar and the journal's last lines."""
    journal = archive / "acme/5f3c/events.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-2]) + b'{"torn')
    (archive / "acme/5f3c/call.json").unlink()
    return archive


def test_repair_ends_with_a_sealed_finished_call(voki_bots: Any, killed: Path) -> None:
    """What a crash left is sealed and finished, and then verifies."""
    said = voki_bots("recordings", "repair", killed)
    assert (said.exit_code, said.stdout.split()[0]) == (0, "repaired")
    assert (killed / "acme/5f3c/stereo.opus").exists()
    assert voki_bots("recordings", "verify", killed).exit_code == 0


def test_repair_leaves_alone_what_is_in_order(voki_bots: Any, archive: Path) -> None:
    """A sealed call is ok, and not a byte of it changes."""
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    assert voki_bots("recordings", "repair", archive).stdout.split()[0] == "ok"
    assert before == {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}


def test_finish_makes_what_is_asked_for(voki_bots: Any, archive: Path) -> None:
    """Format, sides and what else can be chosen; JSON says what was made."""
    wanted = ["--format", "wav", "--mix", "none", "--no-participants", "--no-picture", "--rate", "16000"]
    said = voki_bots(
        "recordings", "finish", archive, "--stereo", "attendant,customer+unknown", *wanted, "--json"
    )
    (made,) = json.loads(said.stdout)
    assert (made["outputs"], made["error"]) == (["stereo.wav"], None)
    assert_tone(440, read_audio(archive / "acme/5f3c/stereo.wav", channel=1), at=2.5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--format", "mp3"], "format: must be one of opus, flac, wav, got 'mp3'"),
        (["--stereo", "attendant"], "stereo: must name two sides"),
        (["--mix", "crowd"], "mix: 'crowd' is no role"),
        (["--rate", "44100"], "rate: must be one of 8000"),
    ],
)
def test_a_mistaken_wish_is_usage(voki_bots: Any, archive: Path, options: list[str], problem: str) -> None:
    """The sentence names the option and what it can be."""
    said = voki_bots("recordings", "finish", archive, *options)
    assert said.exit_code == 2 and problem in said.stderr


def test_finishing_a_running_call_fails(voki_bots: Any, archive: Path) -> None:
    """It is named, with the reason, and the exit code is 1; repair says that it is running."""
    with _attended(archive):
        said = voki_bots("recordings", "finish", archive)
        assert said.exit_code == 1 and "being written already" in said.stdout
        assert voki_bots("recordings", "repair", archive).stdout.split()[0] == "running"


def _attended(archive: Path) -> Any:
    folder = CallFolder.open(
        archive,
        Call("acme", "5f3c"),
        "minutes",
        clock=lambda: 0.0,
        wall=lambda: datetime(2026, 3, 2, tzinfo=UTC),
    )
    return closing(folder)


def test_export_writes_a_stretch(voki_bots: Any, archive: Path, tmp_path: Path) -> None:
    """Two seconds around the beginning of the loss: a tone, then nothing."""
    out = tmp_path / "stretch.flac"
    said = voki_bots(
        "recordings", "export", archive / "acme/5f3c", "--from", "3", "--to", "5", "--output", out
    )
    assert said.stdout.split() == ["2.0", "s", str(out)]
    assert_tone(440, read_audio(out), at=0.2)
    assert_silence(read_audio(out), at=1.1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--from", "10", "--output", "a.wav"], "the call lasts 10.0 s"),
        (["--output", "a.mp3"], "must end in .opus, .flac, .wav"),
    ],
)
def test_an_impossible_export_is_usage(
    voki_bots: Any, archive: Path, options: list[str], problem: str
) -> None:
    """The sentence says what there is."""
    said = voki_bots("recordings", "export", archive / "acme/5f3c", *options)
    assert said.exit_code == 2 and problem in said.stderr


def test_purge_erases_what_is_too_old(voki_bots: Any, archive: Path) -> None:
    """A dry run only says so; then the call is gone, and the audit has who and why."""
    said = voki_bots("recordings", "purge", archive, "--older-than", "1d", "--dry-run")
    assert said.stdout.startswith("would go") and (archive / "acme/5f3c/call.json").exists()
    assert voki_bots("recordings", "purge", archive, "--older-than", "1d", "--by", "ana").exit_code == 0
    assert [path.name for path in archive.iterdir()] == ["audit.jsonl"]
    assert '"by":"ana","reason":"older than 1d"' in (archive / "audit.jsonl").read_text()


def test_purge_keeps_what_nobody_limited(voki_bots: Any, archive: Path) -> None:
    """A call that was recorded without `keep` stays for ever."""
    assert voki_bots("recordings", "purge", archive).stdout == ""
    assert (archive / "acme/5f3c/call.json").exists()


def test_erase_forgets_one_call(voki_bots: Any, archive: Path) -> None:
    """Named by tenant and id; a second time there is nothing to erase."""
    said = voki_bots("recordings", "erase", "--tenant", "acme", "5f3c", archive)
    assert (said.exit_code, said.stdout.split()[0]) == (0, "erased")
    again = voki_bots("recordings", "erase", "--tenant", "acme", "5f3c", archive)
    assert (again.exit_code, "no recorded call '5f3c' of tenant 'acme'" in again.stderr) == (2, True)


def test_what_is_on_hold_cannot_be_erased(voki_bots: Any, archive: Path) -> None:
    """Until it is released; `show` tells by whom it is held."""
    voki_bots("recordings", "hold", archive, "--reason", "case 7", "--by", "legal")
    said = voki_bots("recordings", "erase", "--tenant", "acme", "5f3c", archive)
    assert said.exit_code == 2 and "on hold: by legal" in said.stderr
    assert "on hold by legal" in voki_bots("recordings", "show", archive).stdout
    voki_bots("recordings", "hold", archive, "--release")
    assert voki_bots("recordings", "erase", "--tenant", "acme", "5f3c", archive).exit_code == 0


def test_a_changed_audit_line_fails_the_proof(voki_bots: Any, archive: Path) -> None:
    """`verify` of the archive looks at its audit journal too."""
    Archive(archive).audit("call_erased", by="ana")
    audit = archive / "audit.jsonl"
    audit.write_text(audit.read_text().replace("ana", "eva"))
    said = voki_bots("recordings", "verify", archive)
    assert said.exit_code == 1 and "audit.jsonl: line 1 of the journal was changed" in said.stdout


# ---------------------------------------------------------------- what was withheld


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A call of ten seconds: nobody had agreed until 2 s, it was paused from 4 s to 6 s, refused at 8 s."""
    now = 0.0
    folder = CallFolder.open(
        tmp_path / "archive",
        Call("acme", "5f3c"),
        "minutes",
        clock=lambda: now,
        wall=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=now),
    )
    folder.record(ParticipantJoined(ANA))
    folder.record(TrackStarted(TRACK, 0.0))
    folder.record(TrackAttributed(TRACK, Attribution(ANA, 1.0, "msid")))
    folder.record(ConsentAnnounced("told.wav", 0.5, 1.5, ("u-1",)))
    folder.record("track_file", track=str(TRACK), path="tracks/customer-1.0.opus", codec="opus", start=2.0)
    (folder.directory / "tracks").mkdir(mode=0o700)
    speak(folder.directory / "tracks/customer-1.0.opus", [(0, 2), (4, 6)])
    for at, event in (
        (2.0, ConsentGiven("u-1", "pressed 1", ("u-1",))),
        (2.0, GapFound(TRACK, 0.0, 2.0, GapCause.NO_CONSENT)),
        (4.0, RecordingPaused("api:ana", 4.0, "card")),
        (6.0, RecordingResumed("timer", 6.0, "api:ana")),
        (6.0, GapFound(TRACK, 4.0, 6.0, GapCause.MASKED)),
        (8.0, ConsentRefused("u-1", "said\x1b no")),
        (10.0, GapFound(TRACK, 8.0, 10.0, GapCause.NO_CONSENT)),
        (10.0, TrackEnded(TRACK, 10.0, 4.0)),
        (10.0, CallLeft("the call ended: completed")),
    ):
        now = at
        folder.record(event)
    folder.seal()
    return tmp_path / "archive"


def test_list_tells_what_was_withheld(voki_bots: Any, guarded: Path) -> None:
    """How long, in the table; which spans and why, in JSON."""
    said = voki_bots("recordings", "list", guarded)
    assert "sealed, paused for 0:02, no consent for 0:04, refused" in said.stdout
    (call,) = json.loads(voki_bots("recordings", "list", guarded, "--json").stdout)
    assert call["refused"] == ["u-1"] and call["sound"]
    assert call["withheld"][1] == {
        "start": 4.0,
        "end": 6.0,
        "why": "paused by api:ana (card), ended by timer",
    }


def test_show_tells_who_paused_and_who_agreed(voki_bots: Any, guarded: Path) -> None:
    """Each announcement and each answer is a line of its own; text of others stays text."""
    said = voki_bots("recordings", "show", guarded).stdout
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[-8:-1] == [
        "silent 0.00 – 2.00 s no consent",
        "silent 4.00 – 6.00 s paused by api:ana (card), ended by timer",
        "silent 8.00 – 10.00 s no consent",
        "told 0.50 – 1.50 s told.wav, to u-1",
        "agreed 2.00 s u-1: pressed 1",
        "refused 8.00 s u-1: said\\x1b no",
        "nothing more is recorded: u-1 refused",
    ]


def test_export_of_a_span_that_holds_a_mask(voki_bots: Any, guarded: Path, tmp_path: Path) -> None:
    """Two seconds around the beginning of the pause: a tone, then silence, and a line that says why."""
    out = tmp_path / "stretch.flac"
    said = voki_bots("recordings", "export", guarded, "--from", "3", "--to", "5", "--output", out)
    assert_tone(440, read_audio(out), at=0.2)
    assert_silence(read_audio(out), at=1.1)
    assert said.stdout.split() == ["2.0", "s", str(out)]
    told = " ".join(said.stderr.split())
    assert told == "silent 4.00 – 5.00 s paused by api:ana (card), ended by timer"


async def test_pictures_are_shown_as_pictures(tmp_path: Path, voki_bots: Any) -> None:
    """They have neither a level nor an amount of audio, and are no audio of unknown level."""
    folder = await filmed(tmp_path, "red")
    said = voki_bots("recordings", "show", folder, "--width", "10").stdout
    (line,) = [line for line in said.splitlines() if ".mkv" in line and "pictures" in line]
    assert line.split()[-3:] == ["pictures", "–", "tracks/customer-1.0.mkv"]
    track = {"kind": "video", "start": 2.0, "end": 8.0, "file": "tracks/customer-1.0.mkv", "gaps": []}
    assert row(folder, track, 10.0, 10) == "  ======  "
