"""What was redacted in a transcript cannot be heard in its recording either."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
import pytest
from pydantic import ValidationError
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from tests.archive.studio import RATE, Speech, made
from voki_bots.archive.finish import finish
from voki_bots.archive.journal import read_journal
from voki_bots.archive.masking import PADDING, silence
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.seal import verify
from voki_bots.archive.transcript import TRANSCRIPT
from voki_bots.calls import Track
from voki_bots.media.audiofile import read_audio
from voki_bots.media.containers import read_opus
from voki_bots.media.encrypted import Keys, decrypt_file, new_file
from voki_bots.media.opus import Decoder, packet_ticks
from voki_bots.testing import assert_tone, packets, tone

SAID = (1.0, 1.8)
"""Seconds of call time in which the customer says a number."""

CUSTOMER = Speech("customer", np.concatenate([tone(700, 0.8), tone(1_000, 1.2), tone(700, 1.0)]), start=0.1)
ATTENDANT = Speech("attendant", tone(440, 3.0), start=0.0)
ALL = FinishOptions(format="wav", rate=48_000, picture=False)


def recorded(desk: Any, **line: Any) -> tuple[Path, dict[str, Any]]:
    """A call in whose transcript something of the customer was redacted; gives its folder and that track."""
    directory = made(desk, [CUSTOMER, ATTENDANT])
    sidecar = json.loads((directory / "call.json").read_text())
    (track,) = [each for each in sidecar["tracks"] if each["role"] == "customer"]
    said = {
        "type": "utterance",
        "id": "u1",
        "track": track["id"],
        "role": "customer",
        "start": 0.1,
        "end": 3.0,
    }
    said |= {"text": "meu cartão é [card]", "redacted": [["card", *SAID]], **line}
    (directory / TRANSCRIPT).write_text(json.dumps({"type": "transcript"}) + "\n" + json.dumps(said) + "\n")
    return directory, track


def loud(samples: np.ndarray, begin: float, end: float) -> float:
    part = samples[round(begin * RATE) : round(end * RATE)].astype(float)
    return float(np.sqrt((part**2).mean()))


def test_the_span_is_silent_in_everything_that_is_made_and_in_the_track(desk: Any) -> None:
    """To the others nothing happens, nor to the rest of this voice."""
    directory, track = recorded(desk)
    finish(directory, ALL)
    right = read_audio(directory / "stereo.wav", RATE, channel=1)
    alone = read_audio(directory / "participants" / "customer-1.wav", RATE)
    raw = np.concatenate([np.zeros(round(0.1 * RATE), np.int16), read_audio(directory / track["file"], RATE)])
    for heard in (right, alone, raw):
        assert loud(heard, SAID[0] - 0.1, SAID[1] + 0.1) < 3
        assert_tone(700, heard, at=0.3, seconds=0.4)
        assert_tone(700, heard, at=SAID[1] + PADDING + 0.25, seconds=0.8)
    left = read_audio(directory / "stereo.wav", RATE, channel=0)
    assert_tone(440, left, at=1.0, seconds=0.8)
    assert_tone(440, read_audio(directory / "mix.wav", RATE), at=1.1, seconds=0.6)


def test_everything_else_of_the_track_is_as_it_came(desk: Any) -> None:
    """The other packets bit for bit, all positions, and the account of audio and gaps."""
    directory, track = recorded(desk)
    before = read_opus(directory / track["file"])
    sidecar = finish(directory, ALL)
    after = read_opus(directory / track["file"])
    assert [(at, packet_ticks(p)) for at, p in after] == [(at, packet_ticks(p)) for at, p in before]
    changed = [at / 48_000 + 0.1 for (at, new), (_, old) in zip(after, before, strict=True) if new != old]
    assert SAID[0] - PADDING - 0.03 < min(changed) < max(changed) < SAID[1] + PADDING + 0.03
    assert (sidecar["invariant"]["ok"], sidecar["finish"]["problems"], verify(directory)) == (True, [], [])


def test_the_journal_says_what_went_and_not_what_it_was(desk: Any) -> None:
    """Track and spans; finishing again changes nothing more."""
    directory, track = recorded(desk)
    finish(directory, ALL)
    finish(directory, replace(ALL, rate=16_000))
    said = [line for line in read_journal(directory / "events.jsonl") if line["type"] == "track_redacted"]
    assert [(line["track"], line["spans"]) for line in said] == [(track["id"], [list(SAID)])]


def test_a_call_without_redactions_is_left_alone(desk: Any) -> None:
    """Not a byte of its tracks changes."""
    directory, track = recorded(desk, redacted=[])
    before = (directory / track["file"]).read_bytes()
    finish(directory, ALL)
    assert (directory / track["file"]).read_bytes() == before


@pytest.mark.parametrize("keep", [True, False])
async def test_the_original_is_kept_encrypted_if_it_is_wanted(tmp_path: Path, keep: bool) -> None:
    """What is made of it is silent in either case; without the key nothing is known, so nothing is done."""
    identity = pyrage.x25519.Identity.generate()
    keys, recipients = Keys([identity]), (str(identity.to_public()),)
    settings = RecorderSettings(recipients=recipients, keep_original=keep, finishers=1)
    call = Recorded(tmp_path)
    async with call, Recorder(settings).attend(call):
        await call.speak(call.join("Kim", role="customer"), tone(1_000, 3.0))
    (line,) = [
        line for line in read_journal(call.directory / "events.jsonl") if line["type"] == "track_started"
    ]
    said = {
        "type": "utterance",
        "id": "u1",
        "track": line["track"],
        "role": "customer",
        "start": 0.0,
        "end": 3.0,
    }
    file = new_file(call.directory / f"{TRANSCRIPT}.enc", recipients)
    file.write(json.dumps(said | {"text": "[card]", "redacted": [["card", *SAID]]}).encode() + b"\n")
    file.close()
    call.folder.seal()
    call.folder.close()
    finish(call.directory, settings.finish, keys=keys)
    assert verify(call.directory, keys) == []
    open_file = tmp_path / "open"
    for name in ("stereo.opus", "tracks/customer-1.0.opus", "captions.vtt"):
        decrypt_file(call.directory / f"{name}.enc", open_file / name, keys)
    assert loud(read_audio(open_file / "stereo.opus", RATE, channel=1), *SAID) < 10
    original = read_audio(open_file / "tracks/customer-1.0.opus", RATE)
    assert (loud(original, *SAID) > 1_000) is keep
    assert "[card]" in (open_file / "captions.vtt").read_text()


def test_an_original_is_never_kept_readable() -> None:
    """Whoever asks for it must say for whom."""
    with pytest.raises(ValidationError, match="kept encrypted alone"):
        RecorderSettings(keep_original=True)


@pytest.mark.parametrize("ticks", [120, 240, 480, 960, 1440, 1920, 2880, 3840, 4800, 5760, 360])
def test_silence_lasts_as_long_as_what_it_replaces(ticks: int) -> None:
    """Whatever length a sender's packets have; and nothing is heard of it after a loud voice."""
    payload, decoder = silence(ticks), Decoder(RATE)
    assert packet_ticks(payload) == ticks
    for packet in packets(tone(440, 0.2), Track(0, "1", 1)):
        decoder.decode(packet.payload)
    heard = [decoder.decode(payload) for _ in range(5)][-1]
    assert len(heard) == ticks
    assert np.abs(heard).max() < 5


def test_a_length_that_no_packet_has_is_an_error() -> None:
    """It never comes from a file."""
    with pytest.raises(ValueError, match="no packet of Opus lasts 7 ticks"):
        silence(7)


_KILLED = """
import os, signal, sys
from pathlib import Path
from voki_bots.archive import finish as module
from voki_bots.archive.options import FinishOptions

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

module.seal_with = kill
module.finish(Path(sys.argv[1]), FinishOptions(format="wav", picture=False))
"""


def test_a_kill_between_the_track_and_the_journal_is_made_good(desk: Any) -> None:
    """The next finish says so in the journal, and everything verifies."""
    directory, track = recorded(desk)
    died = subprocess.run([sys.executable, "-c", _KILLED, str(directory)])
    assert died.returncode == -signal.SIGKILL
    finish(directory, ALL)
    assert verify(directory) == []
    assert loud(read_audio(directory / track["file"], RATE), 1.0, 1.6) < 3
