"""Encryption, pictures, pauses and crashes together, by content: all of them meet in one folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from tests.media.filming import film, numbers
from voki_bots import Participant
from voki_bots.archive.finish import finish
from voki_bots.archive.seal import verify
from voki_bots.errors import ConfigurationError
from voki_bots.media.encrypted import Keys, decrypt_file
from voki_bots.testing import assert_silence, assert_tone, decode, tone

KEY = pyrage.x25519.Identity.generate()
KEYS = Keys([KEY])
EACH = pytest.mark.parametrize("paused", [False, True], ids=["on", "paused"])
FILMED = pytest.mark.parametrize("filmed", [False, True], ids=["heard", "filmed"])
CRASHED = pytest.mark.parametrize("crashed", [False, True], ids=["ended", "crashed"])
ENCRYPTED = pytest.mark.parametrize("encrypted", [False, True], ids=["readable", "encrypted"])


async def speak(call: Recorded, who: Participant, *, paused: bool, filmed: bool) -> None:
    """A second of 440 Hz, a second of 660 Hz that may be paused, a second of 440 Hz, and a film of three."""
    voice = call.track(who)
    await call.speak(voice, tone(440, 1.0))
    if paused:
        call.pause(actor="ana", reason="card")
    await call.speak(voice, tone(660, 1.0))
    if paused:
        call.resume(actor="ana")
    await call.speak(voice, tone(440, 1.0))
    if filmed:
        track = call.track(who, kind="video")
        await call.feed([replace(packet, track=track) for packet in film("vp8", 45)])


def readable(directory: Path, into: Path) -> Path:
    """Decrypt everything that is encrypted into another folder, and copy the rest."""
    for path in sorted(each for each in directory.rglob("*") if each.is_file()):
        target = into / path.relative_to(directory)
        if path.suffix == ".enc":
            decrypt_file(path, target.with_suffix(""), KEYS)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return into


@EACH
@FILMED
@CRASHED
@ENCRYPTED
async def test_what_was_heard_and_seen_is_in_the_finished_call(
    tmp_path: Path, paused: bool, filmed: bool, crashed: bool, encrypted: bool
) -> None:
    """The customer's side holds what they said and nothing paused; the film is whole; all is proved."""
    settings = RecorderSettings(
        video=filmed, recipients=(str(KEY.to_public()),) if encrypted else (), finishers=1
    )
    call, folder = Recorded(tmp_path / "calls"), tmp_path / "crash/acme/c-1"
    recorder = Recorder(settings)
    async with call, recorder.attend(call):
        await speak(call, call.join("Carl", role="customer"), paused=paused, filmed=filmed)
        if crashed:
            shutil.copytree(call.directory, folder)
    if not crashed:
        call.folder.seal()
        folder = call.directory
    call.folder.close()
    keys = KEYS if encrypted else None
    if encrypted:
        assert finish(folder)["finish"]["outputs"] == []  # no key, nothing made; sealed all the same
        assert verify(folder) == [] and not list(folder.rglob("*.opus"))
    finish(folder, settings.finish, keys=keys)
    assert verify(folder, keys) == []
    made = readable(folder, tmp_path / "made")
    right = decode(made / "stereo.opus", channel=1)
    assert_tone(440, right, at=0.3, seconds=0.4)
    if paused:
        assert_silence(right[-48_000 * 2 + 9_600 : -48_000 - 9_600])
    else:
        assert_tone(660, right, at=1.3, seconds=0.4)
    assert_silence(decode(made / "stereo.opus", channel=0))
    if filmed:
        assert numbers(made / "tracks/customer-1.0.mkv") == list(range(45))


async def test_an_encrypted_call_is_finished_by_its_key_alone(tmp_path: Path) -> None:
    """Another key, and none at all, are told which call they cannot read."""
    call = Recorded(tmp_path / "calls")
    settings = RecorderSettings(recipients=(str(KEY.to_public()),))
    async with call, Recorder(settings).attend(call):
        await call.speak(call.join("Carl", role="customer"), tone(440, 1.0))
    call.folder.seal()
    for keys, why in (
        (None, "it needs a key"),
        (Keys([pyrage.x25519.Identity.generate()]), "cannot be decrypted"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            finish(call.directory, settings.finish, keys=keys)
