"""Finishing the folder of a call, and proving later that nothing in it was changed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from voki_bots.archive.journal import Journal, Line, check_chain, read_journal
from voki_bots.archive.layout import (
    ASIDE,
    JOURNAL,
    SIDECAR,
    call_directories,
    sync_directory,
    write_aside,
    writing,
)
from voki_bots.archive.recover import missing_lines
from voki_bots.archive.sidecar import fold
from voki_bots.media.encrypted import ENDING, Keys, decrypted

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ListedCall:
    """One folder of an archive, as its sidecar (or else its journal) tells of it.

    Attributes:
        directory: Where it is.
        tenant: As the platform calls it.
        call: The call's id.
        bot: Who attended.
        started: ISO 8601 in UTC.
        duration: Seconds.
        sealed: Whether it was finished.
        sound: Whether audio and gaps of every track make up its duration.
        tracks: As in the sidecar.
        sidecar: All of it.
    """

    directory: Path
    tenant: str
    call: str
    bot: str
    started: str
    duration: float
    sealed: bool
    sound: bool
    tracks: list[dict[str, Any]]
    sidecar: dict[str, Any]


def seal(directory: Path, *, wall: Callable[[], datetime] | None = None) -> dict[str, Any]:
    """Finish a folder that nobody writes to any more; also what a crash left.

    Tracks that a crash cut off are ended where their files end, what does not add up gets a line of its
    own (`invariant_violated`), all files are hashed, the journal takes a `sealed` line that lists them, and
    the sidecar is written from it. Everything is on the disk when this returns. What is no regular file (a
    link, a pipe) is left out, and `verify` will tell of it. A sealed folder that did not change stays as it
    is.
    It reads every file: call it off the event loop.

    Args:
        directory: The folder of a call.
        wall: The time in UTC; without it the time at which the journal was last written counts.

    Returns:
        The sidecar; look at ``["invariant"]`` for what does not add up.

    Raises:
        FileWriteError: If there is no journal, somebody still writes it, or the disk does not let us.
    """
    with writing(directory / JOURNAL):
        ended = fold(read_journal(directory / JOURNAL))["duration"]
        written = datetime.fromtimestamp((directory / JOURNAL).stat().st_mtime, UTC)
    journal = Journal(directory / JOURNAL, clock=lambda: ended, wall=wall or (lambda: written))
    try:
        return seal_with(journal, directory)
    finally:
        journal.close()


def seal_with(journal: Journal, directory: Path) -> dict[str, Any]:
    """Finish a folder whose journal is open already. See `seal`."""
    found = read_journal(journal.path)
    for at, type_, facts in missing_lines(directory, fold(found), found):
        journal.append_at(at, type_, **facts)
    with writing(directory):
        regular = [path for path in _files(directory) if stat.S_ISREG(path.lstat().st_mode)]
        files = [_facts(path, directory, durable=True) for path in regular]
        for folder in {directory, *(path.parent for path in regular)}:
            sync_directory(folder)
    lines = read_journal(journal.path)
    if (violations := fold(lines)["invariant"]["violations"]) and not _told(lines, violations):
        lines.append(journal.append("invariant_violated", violations=violations))
    unchanged = lines and lines[-1]["type"] == "sealed" and lines[-1].get("files") == files
    if not unchanged:
        lines.append(journal.append("sealed", files=files))
    journal.sync()
    sidecar = fold(lines)
    write_sidecar(directory, sidecar, durable=True)
    return sidecar


def _told(lines: list[Line], violations: list[str]) -> bool:
    """Whether the journal says so already: its last word on the matter is the same."""
    said = [line.get("violations") for line in lines if line["type"] == "invariant_violated"]
    return bool(said) and said[-1] == violations


def write_sidecar(directory: Path, sidecar: dict[str, Any], *, durable: bool) -> None:
    """Replace the sidecar of a folder at once; laid out for readers only where it stays (`durable`).

    Raises:
        FileWriteError: If the disk does not let us.
    """
    content = json.dumps(sidecar, indent=1 if durable else None).encode() + b"\n"
    write_aside(directory / SIDECAR, content, durable=durable)


def verify(directory: Path, keys: Keys | None = None) -> list[str]:
    """Check everything that can be checked in the folder of a call.

    Args:
        directory: The folder.
        keys: With them, encrypted files are decrypted, too, to see whether they can be.

    Returns:
        One sentence for each problem; an empty list means that the folder is as it was sealed, that its
        journal is whole, and that audio and gaps of every track make up its duration.
    """
    try:
        lines = read_journal(directory / JOURNAL)
    except OSError as error:
        return [f"{directory / JOURNAL} cannot be read: {error.strerror}"]
    problems = check_chain(lines)
    expected = fold(lines)
    if not expected["sealed"]:
        problems.append(f"{directory} is not sealed: the call is running, or its end was cut off")
    problems += _compare_sidecar(directory, expected)
    problems += _compare_files(directory, expected["files"])
    if keys is not None:
        problems += _undecryptable(directory, expected["files"], keys)
    return [*problems, *expected["invariant"]["violations"]]


def list_calls(root: Path) -> list[ListedCall]:
    """Find the folders of all calls at or below `root`, oldest first; all else is passed over."""
    found = [read_call(directory) for directory in call_directories(root)]
    return sorted((each for each in found if each), key=lambda each: (each.started, each.directory))


def read_call(directory: Path) -> ListedCall | None:
    """Tell of one folder, or give None if it is not the folder of a call."""
    sidecar = _read_sidecar(directory) or _fold_journal(directory)
    if sidecar is None:
        return None
    return ListedCall(
        directory=directory,
        tenant=str(sidecar.get("tenant")),
        call=str(sidecar.get("call")),
        bot=str(sidecar.get("bot")),
        started=str(sidecar.get("started") or ""),
        duration=float(sidecar.get("duration") or 0.0),
        sealed=bool(sidecar.get("sealed")),
        sound=bool(sidecar.get("invariant", {}).get("ok")),
        tracks=list(sidecar.get("tracks", [])),
        sidecar=sidecar,
    )


def _files(directory: Path) -> Iterator[Path]:
    """Everything in the folder that a seal covers, in a stable order; links are listed, never followed."""
    for folder, names, files in os.walk(directory, followlinks=False):
        names.sort()
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(folder) / name
            if path.parent == directory and name in (JOURNAL, SIDECAR, SIDECAR + ASIDE):
                continue
            yield path


def _facts(path: Path, directory: Path, *, durable: bool = False) -> dict[str, Any]:
    """Describe one file: its path in the folder, its bytes and their SHA-256.

    Raises:
        OSError: If it is no regular file or cannot be read.
    """
    name = path.relative_to(directory).as_posix()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file")
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        if durable:
            os.fsync(descriptor)
    return {"path": name, "bytes": size, "sha256": digest.hexdigest()}


def _compare_sidecar(directory: Path, expected: dict[str, Any]) -> list[str]:
    path = directory / SIDECAR
    if (sidecar := _read_sidecar(directory)) is None:
        return [f"{path} is missing or cannot be read"]
    if sidecar == json.loads(json.dumps(expected)):
        return []
    differing = sorted(
        name for name in {*sidecar, *expected} if sidecar.get(name, ...) != expected.get(name, ...)
    )
    return [f"{path} does not say what the journal says about: {', '.join(differing)}"]


def _compare_files(directory: Path, listed: list[dict[str, Any]]) -> list[str]:
    problems = []
    there = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
    for facts in listed:
        name = str(facts.get("path"))
        if (path := there.pop(name, None)) is None:
            problems.append(f"{name} is missing")
            continue
        try:
            now = _facts(path, directory)
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}")
            continue
        if now != facts:
            problems.append(f"{name} was changed: it is not the file that was sealed")
    return problems + [f"{name} was not there when the folder was sealed" for name in there]


def _undecryptable(directory: Path, listed: list[dict[str, Any]], keys: Keys) -> Iterator[str]:
    for name in (str(each.get("path")) for each in listed):
        path = directory / name
        if name.endswith(ENDING) and path.is_file():
            try:
                for _ in decrypted(path, keys):
                    pass
            except ValueError as error:
                yield str(error)


def _read_sidecar(directory: Path) -> dict[str, Any] | None:
    try:
        sidecar = json.loads((directory / SIDECAR).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return sidecar if isinstance(sidecar, dict) else None


def _fold_journal(directory: Path) -> dict[str, Any] | None:
    try:
        lines: list[Line] = read_journal(directory / JOURNAL)
    except OSError:
        return None
    return fold(lines)
