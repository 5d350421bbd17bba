"""Encrypted calls on the command line."""

from pathlib import Path
from typing import Any

import pyrage
import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from voki_bots.testing import assert_tone, decode, tone

KEY = pyrage.x25519.Identity.generate()


@pytest.fixture
async def kept(tmp_path: Path) -> Path:
    """An encrypted call; its key is beside the archive."""
    (tmp_path / "key.txt").write_text(f"# a key for tests\n{KEY}\n")
    call = Recorded(tmp_path / "calls")
    async with call, Recorder(RecorderSettings(recipients=(str(KEY.to_public()),))).attend(call):
        await call.speak(call.join("Carl", role="customer"), tone(440, 1.0))
    call.folder.seal()
    call.folder.close()
    return tmp_path


def test_with_the_key_it_is_proved_finished_and_decrypted(kept: Path, voki_bots: Any) -> None:
    """Each command takes the file of the key; what is decrypted lies apart, named as before."""
    identity = ("--identity", kept / "key.txt")
    finished = voki_bots("recordings", "finish", kept / "calls", *identity)
    verified = voki_bots("recordings", "verify", kept / "calls", *identity)
    decrypted = voki_bots("recordings", "decrypt", kept / "calls", *identity, "--output", kept / "plain")
    assert [each.exit_code for each in (finished, verified, decrypted)] == [0, 0, 0], finished.output
    assert_tone(440, decode(kept / "plain/acme/c-1/stereo.opus", channel=1), at=0.2)


def test_plain_leaves_what_is_made_readable(kept: Path, voki_bots: Any) -> None:
    """Only where that is asked for."""
    voki_bots(
        "recordings", "finish", kept / "calls", "--identity", kept / "key.txt", "--plain", "--format", "wav"
    )
    assert_tone(440, decode(kept / "calls/acme/c-1/stereo.wav", channel=1), at=0.2)


def test_without_the_key_it_is_one_sentence(kept: Path, voki_bots: Any) -> None:
    """Finishing says what it needs; proving needs nothing."""
    assert voki_bots("recordings", "verify", kept / "calls").exit_code == 0
    said = voki_bots("recordings", "finish", kept / "calls")
    assert said.exit_code == 1 and "is encrypted; it needs a key: --identity FILE" in said.stdout


def test_a_stretch_is_exported_with_the_key(kept: Path, voki_bots: Any) -> None:
    """What was exported is readable; without the key nothing is written."""
    folder, out = kept / "calls/acme/c-1", kept / "a.wav"
    assert voki_bots("recordings", "export", folder, "--output", out).exit_code == 2 and not out.exists()
    voki_bots("recordings", "export", folder, "--output", out, "--identity", kept / "key.txt")
    assert_tone(440, decode(out, channel=0), at=0.2)
