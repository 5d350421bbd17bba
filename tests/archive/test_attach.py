"""What a plugin makes of a call after it becomes part of what is proved."""

import threading
from pathlib import Path
from typing import Any

import pyrage
import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from tests.archive.studio import CUSTOMER, made
from voki_bots.archive.attach import attach, wait_until_sealed
from voki_bots.archive.finish import aside_of
from voki_bots.archive.journal import read_journal
from voki_bots.archive.seal import verify
from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.media.encrypted import Keys, open_file
from voki_bots.testing import tone

FILES = {"captions.vtt": b"WEBVTT\n", "difference.txt": b"none\n"}


def test_files_are_sealed_with_the_call_and_told_in_its_journal(desk: Any) -> None:
    """Again, they replace those of before."""
    directory = made(desk, [CUSTOMER])
    for content in (b"old", b"new"):
        (path,) = attach(directory, "second", {"a.txt": content}, event="second_pass", model="big")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify(directory) == []
    said = [line for line in read_journal(directory / "events.jsonl") if line["type"] == "second_pass"]
    assert [line["model"] for line in said] == ["big", "big"]


async def test_they_are_encrypted_where_the_call_is(tmp_path: Path) -> None:
    """For the same people."""
    identity = pyrage.x25519.Identity.generate()
    call = Recorded(tmp_path)
    async with call, Recorder(RecorderSettings(recipients=(str(identity.to_public()),))).attend(call):
        await call.speak(call.join("Kim"), tone(440, 0.5))
    call.folder.seal()
    call.folder.close()
    paths = attach(call.directory, "second", FILES, event="second_pass")
    assert [path.name for path in paths] == ["captions.vtt.enc", "difference.txt.enc"]
    with open_file(paths[0], Keys([identity])) as file:
        assert file.read() == FILES["captions.vtt"]


def test_a_folder_that_is_still_written_to_is_waited_for(desk: Any) -> None:
    """As long as one's patience lasts."""
    directory = made(desk, [CUSTOMER], left=False)
    folder = desk.open()
    with pytest.raises(FileWriteError):
        wait_until_sealed(directory, patience=0.0)
    closing = threading.Timer(0.3, folder.close)
    closing.start()
    wait_until_sealed(directory, patience=10.0)
    closing.join()
    assert verify(directory) == []


def test_two_do_not_work_on_one_folder_at_once(desk: Any) -> None:
    """The second waits, or says that it is busy."""
    directory = made(desk, [CUSTOMER])
    with aside_of(directory), pytest.raises(FileWriteError, match="being finished"):
        attach(directory, "second", FILES, event="second_pass", patience=0.0)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".."])
def test_a_name_that_leads_elsewhere_is_refused(desk: Any, name: str) -> None:
    """Neither the folder nor a file."""
    directory = made(desk, [CUSTOMER])
    with pytest.raises(ConfigurationError, match="plain name"):
        attach(directory, name, FILES, event="x")
    with pytest.raises(ConfigurationError, match="plain name"):
        attach(directory, "second", {name: b""}, event="x")
