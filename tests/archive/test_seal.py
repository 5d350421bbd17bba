"""A seal proves that nothing was changed since."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voki_bots.archive.journal import read_journal
from voki_bots.archive.seal import list_calls, seal, verify
from voki_bots.calls import CallLeft
from voki_bots.errors import FileWriteError


@pytest.fixture
def sealed(desk: Any) -> Path:
    folder = desk.open()
    (folder.directory / "tracks").mkdir()
    (folder.directory / "tracks/a.opus").write_bytes(b"one")
    (folder.directory / "notes.txt").write_bytes(b"two")
    folder.record(CallLeft("call ended"))
    folder.seal()
    directory: Path = folder.directory
    return directory


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda d: (d / name).write_text((d / name).read_text().replace(old, new, 1))


def cut_journal(directory: Path) -> None:
    path = directory / "events.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (edit("tracks/a.opus", "one", "One"), "tracks/a.opus was changed"),
        (lambda d: (d / "notes.txt").unlink(), "notes.txt is missing"),
        (lambda d: (d / "extra").touch(), "extra was not there"),
        (lambda d: (d / "link").symlink_to("/etc"), "link was not there"),
        (
            lambda d: ((d / "notes.txt").unlink(), (d / "notes.txt").symlink_to("/etc/hosts")),
            "cannot be read",
        ),
        (lambda d: (d / "call.json").unlink(), "call.json is missing"),
        (edit("call.json", '"acme"', '"evil"'), "does not say what the journal says about: tenant"),
        (edit("events.jsonl", '"acme"', '"evil"'), "line 1 of the journal was changed"),
        (cut_journal, "is not sealed"),
        (lambda d: (d / "events.jsonl").unlink(), "events.jsonl cannot be read"),
    ],
)
def test_tampering_is_told(sealed: Path, tamper: Callable[[Path], object], problem: str) -> None:
    """Whatever is changed, taken away or added after the seal is named."""
    tamper(sealed)
    assert problem in "\n".join(verify(sealed))


def test_an_untouched_folder_has_no_problems(sealed: Path) -> None:
    """Verifying what was just sealed finds nothing."""
    assert verify(sealed) == []


def test_sealing_again_changes_nothing(sealed: Path) -> None:
    """A sealed folder that nobody touched keeps its journal and sidecar."""
    before = (sealed / "events.jsonl").read_bytes(), (sealed / "call.json").read_bytes()
    seal(sealed)
    assert before == ((sealed / "events.jsonl").read_bytes(), (sealed / "call.json").read_bytes())


def test_a_call_that_was_cut_off_can_be_sealed(desk: Any) -> None:
    """What a kill left, torn line included, becomes a folder that verifies."""
    folder = desk.open()
    folder.close()
    with (folder.directory / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"at"')
    assert seal(folder.directory)["sealed"]
    assert verify(folder.directory) == []
    assert [line["type"] for line in read_journal(folder.directory / "events.jsonl")][1] == "journal_repaired"


def test_a_running_call_cannot_be_sealed_from_outside(desk: Any) -> None:
    """While a bot writes the journal, sealing is refused."""
    folder = desk.open()
    with pytest.raises(FileWriteError, match="being written already"):
        seal(folder.directory)


def test_a_folder_without_a_journal_cannot_be_sealed(tmp_path: Path) -> None:
    """The error names what is missing, and nothing is made."""
    with pytest.raises(FileWriteError, match=r"events\.jsonl: No such file"):
        seal(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_in_the_folder_does_not_block_the_seal(desk: Any) -> None:
    """Something that is no file is never waited for; the call is sealed, and verifying tells of it."""
    folder = desk.open()
    os.mkfifo(folder.directory / "pipe")
    assert folder.seal()["sealed"]
    assert verify(folder.directory) == ["pipe was not there when the folder was sealed"]


def test_calls_are_listed_oldest_first(desk: Any) -> None:
    """Every folder of the archive is listed, sealed or not, also without a sidecar."""
    desk.open("a").seal()
    desk.now = 60.0
    unsealed = desk.open("b")
    (unsealed.directory / "call.json").unlink()
    (desk.root / "acme/other").mkdir()
    assert [(each.bot, each.sealed) for each in list_calls(desk.root)] == [("a", True), ("b", False)]


def test_an_archive_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    """Listing a root that was never written gives nothing."""
    assert list_calls(tmp_path / "none") == []
