"""Where the files of a call lie, and how they are made.

A call's folder is ``<root>/<tenant>/<call>``. Tenant and call id come from the network and are hostile:
`safe_name` turns any text into one path component that stays where it is put. Folders are 0700 and files
0600, for they hold people's voices.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from voki_bots.errors import FileWriteError

JOURNAL = "events.jsonl"
"""The name of a call's journal in its folder."""

SIDECAR = "call.json"
"""The name of a call's sidecar in its folder."""

TRACKS = "tracks"
"""The folder of the live files, one for each track and segment."""

ASIDE = ".part"
"""What ends the name of a file that is being written aside."""

_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,94}[a-z0-9_-])?")
_ODD = re.compile(r"[^a-z0-9_-]+")
_READABLE = 64
_DIGEST = 32


def safe_name(text: str) -> str:
    """Turn any text into the name of one file or folder.

    Lower-case ids of usual shape stay as they are. Everything else keeps what is harmless of it, followed
    by ``~`` and 128 bits of its SHA-256. An escaped name always holds a ``~`` and a plain one never does,
    so two ids share a name only if their digests collide; and none differ in case alone.

    Returns:
        ASCII of 1 to 97 characters; never ``.`` or ``..``, and without ``/``.
    """
    if _PLAIN.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    readable = _ODD.sub("-", text[:_READABLE].lower()).strip("-")
    return f"{readable or '_'}~{digest}"


def call_directory(root: Path, tenant: str, call_id: str) -> Path:
    """Name the folder of a call. It is always exactly two levels below `root`; nothing is made."""
    return root / safe_name(tenant) / safe_name(call_id)


def numbered(directory: Path, number: int) -> Path:
    """Name the `number`-th folder (from 1) of the same call, for bots that attend it side by side.

    A digest has 32 digits, so ``~2`` is never the name of another call.
    """
    return directory if number == 1 else directory.with_name(f"{directory.name}~{number}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the enclosed block into a `FileWriteError` that names `path`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileWriteError(f"cannot write {path}: {why}", path=str(path)) from error


def make_directory(path: Path) -> None:
    """Make a folder and those above it that are missing, each 0700.

    Raises:
        FileWriteError: If it cannot be made, or something else is in its place.
    """
    with writing(path):
        missing = [path]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made 0600 if it is new, and return its descriptor. Links are not followed.

    Raises:
        OSError: As `os.open` does.
    """
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def write_aside(path: Path, content: bytes, *, durable: bool) -> None:
    """Replace a file at once: nobody ever sees half of it, not even after a crash.

    Args:
        path: What to replace.
        content: What it shall hold.
        durable: Whether to wait until the disk has it.

    Raises:
        FileWriteError: If the disk does not let us.
    """
    aside = path.with_name(path.name + ASIDE)
    with writing(path):
        with _private_file(aside) as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.replace(path)
        if durable:
            sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a folder (an `fsync` of the folder itself)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private_file(path: Path) -> BinaryIO:
    return os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
