"""Where the files of a call lie, and how they are made.

A call's folder is ``<root>/<tenant>/<call>``, or as a template of names says. Tenant and call id come from
the network and are hostile: `safe_name` turns any text into one path component that stays where it is put.
Folders are 0700 and files 0600, for they hold people's voices.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from voki_bots.errors import ConfigurationError, FileWriteError

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


TEMPLATE = "{tenant}/{call}"
"""How the folders of calls are named if nothing else is said."""

PLACEHOLDERS = ("tenant", "call", "date", "bot")
"""What a template may name: tenant and call, the UTC date on which the bot came, the bot."""

_LITERAL = re.compile(r"[A-Za-z0-9_.=-]*")
_PLACE = re.compile(r"\{([^{}]*)\}")


def problem_with_template(template: str) -> str | None:
    """Say what is wrong with a template such as ``{tenant}/{date}/{call}``, or None."""
    parts = template.split("/")
    named = [name for part in parts for name in _PLACE.findall(part)]
    if unknown := [name for name in named if name not in PLACEHOLDERS]:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        return f"{{{unknown[0]}}} is no placeholder; there are {known}"
    if missing := [name for name in ("tenant", "call") if name not in named]:
        return f"{template!r} must hold {{{missing[0]}}}, or different calls would share a folder"
    for part in parts:
        plain = _PLACE.sub("", part)
        if not part or part.startswith(".") or not _LITERAL.fullmatch(plain):
            return f"{part!r} is no name of a folder: use letters, digits, _ . = - and placeholders"
        if len(_PLACE.findall(part)) > 2 or len(plain) > 40:
            return f"{part!r} may become too long for the name of a folder"
    return None


def split_template(path: Path) -> tuple[Path, str]:
    """Divide the place of an archive into its root and the template of its folders' names.

    The template begins at the first folder with a brace in it; without one it is `TEMPLATE`.

    Raises:
        ConfigurationError: If the template cannot be used.
    """
    parts = path.parts
    first = next((index for index, part in enumerate(parts) if "{" in part or "}" in part), len(parts))
    template = "/".join(parts[first:]) or TEMPLATE
    if why := problem_with_template(template):
        raise ConfigurationError(f"{path}: {why}", path=str(path))
    return Path(*parts[:first]), template


def archive_of(wanted: Path | None, otherwise: Path) -> Path:
    """Choose where calls are kept: a plugin's wish, which may be a template alone, or else the setting."""
    if wanted is None:
        return otherwise
    return otherwise / wanted if wanted.parts and "{" in wanted.parts[0] else wanted


def call_directory(root: Path, tenant: str, call_id: str, *, bot: str = "", date: str = "") -> Path:
    """Name the folder of a call; nothing is made.

    Args:
        root: Where the archive is; it may end in a template. Without one the folder is always exactly two
            levels below it.
        tenant: Whatever the platform says.
        call_id: Whatever the platform says.
        bot: Who attends, for templates that name it.
        date: Such as ``2030-01-31``, for templates that name it.
    """
    base, template = split_template(root)
    values = {"tenant": safe_name(tenant), "call": safe_name(call_id), "bot": safe_name(bot), "date": date}
    return base.joinpath(*(_PLACE.sub(lambda found: values[found[1]], part) for part in template.split("/")))


def call_directories(root: Path, depth: int = 8) -> Iterator[Path]:
    """Find the folders of calls at or below `root`, whatever template named them.

    Links below `root` are not followed, and nothing is looked for more than `depth` levels down.
    """
    if not root.is_dir():
        return
    if any((root / name).exists() for name in (JOURNAL, SIDECAR)):
        yield root
        return
    for below in sorted(root.iterdir()):
        if depth and not below.name.startswith(".") and not below.is_symlink():
            yield from call_directories(below, depth - 1)


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
