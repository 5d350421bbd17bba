"""Text that is spoken: a port to what makes speech of it, and espeak-ng as the first that does.

Others are found by the entry-point group ``voki_bots.speakers``. What was made once is kept on disk, under
the digest of what was said, by whom and how.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from voki_bots.archive.layout import make_directory, write_aside
from voki_bots.errors import ConfigurationError, MediaError

if TYPE_CHECKING:
    from voki_bots.media.prompts import Prompt

GROUP = "voki_bots.speakers"
"""The entry-point group in which packages offer speakers: a class that is made without arguments."""

LONGEST = 4_000
"""Characters that are said at once."""

PATIENCE = 30.0
"""Seconds that a speaker may take."""

_VOICE = re.compile(r"[A-Za-z0-9+_-]{1,64}")
_HEAD = struct.Struct("<4sI")


class Speaker(Protocol):
    """Makes speech of text. It runs in a thread of its own, never on the event loop."""

    def speak(self, text: str, voice: str) -> tuple[npt.NDArray[np.int16], int]:
        """Say a text.

        Args:
            text: Plain text of any language that the voice speaks; nothing in it is markup.
            voice: As this speaker calls it, such as ``pt-br``.

        Returns:
            Mono int16 of shape (n,), and its samples per second.

        Raises:
            MediaError: If it cannot.
        """


class EspeakSpeaker:
    """espeak-ng, a program of its own (GPL-3): every language, 20 ms a sentence, robotic.

    Args:
        program: Its name or path.
    """

    def __init__(self, program: str = "espeak-ng") -> None:
        self._program = program

    def speak(self, text: str, voice: str) -> tuple[npt.NDArray[np.int16], int]:
        """See `Speaker.speak`."""
        if (found := shutil.which(self._program)) is None:
            raise MediaError(f"{self._program} is not installed; install the package espeak-ng")
        command = [found, "-v", voice, "-b", "1", "--stdin", "--stdout"]
        try:
            done = subprocess.run(  # noqa: S603 - a program of the system; the text goes by its input
                command, input=text.encode(), capture_output=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise MediaError(f"{self._program} took longer than {PATIENCE:g} s") from None
        if done.returncode or not done.stdout:
            why = done.stderr.decode(errors="replace").strip()[:200]
            raise MediaError(
                f"{self._program} cannot speak with the voice {voice!r}: {why or 'no sound came'}"
            )
        return _wave(done.stdout)


def check_voice(wanted: str) -> str | None:
    """Say what is wrong with a voice such as ``espeak-ng:pt-br``, or None."""
    engine, colon, voice = wanted.partition(":")
    if not colon or not _VOICE.fullmatch(voice):
        return f"expected a speaker and its voice, such as espeak-ng:pt-br; got {wanted[:80]!r}"
    if engine not in (known := _known()):
        return f"there is no speaker {engine[:40]!r}; there are {', '.join(known)}"
    return None


def spoken(text: str, wanted: str, kept: Path | None = None, *, speaker: Speaker | None = None) -> Prompt:
    """Make a prompt of a text; it blocks.

    Args:
        text: What is said.
        wanted: A speaker and its voice, such as ``espeak-ng:pt-br``.
        kept: Where what was made is kept; a folder of ours among the temporary ones by default.
        speaker: Makes it, instead of the one that is installed by this name.

    Raises:
        ConfigurationError: If there is no such voice.
        MediaError: If it cannot be said.
    """
    if problem := check_voice(wanted):
        raise ConfigurationError(f"voice: {problem}", path="voice")
    if not text.strip() or len(text) > LONGEST:
        raise MediaError(f"expected a text of 1 to {LONGEST} characters, got {len(text)}")
    from voki_bots.media.prompts import Prompt  # whoever only reads settings needs no sound

    engine, _, voice = wanted.partition(":")
    name = hashlib.sha256(f"{engine}\0{voice}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    folder = _private() if kept is None else kept
    path = folder / f"{name}.s16"
    try:
        content = path.read_bytes()
    except OSError:
        samples, rate = (speaker or _speaker(engine)).speak(text, voice)
        content = rate.to_bytes(4, "little") + samples.astype("<i2").tobytes()
        make_directory(folder)
        write_aside(path, content, durable=False)
    samples = np.frombuffer(content[4:], "<i2").astype(np.int16)
    return Prompt.from_pcm(samples, int.from_bytes(content[:4], "little"), name=f"text-{name[:8]}")


def _private() -> Path:
    """A folder that is ours alone: what people are told has their names in it."""
    folder = Path(tempfile.gettempdir()) / f"voki-bots-voices-{os.getuid()}"
    make_directory(folder)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MediaError(f"{folder} is not ours alone; remove it")
    return folder


def _known() -> list[str]:
    return sorted({"espeak-ng", *(point.name for point in entry_points(group=GROUP))})


@cache
def _speaker(engine: str) -> Speaker:
    for point in entry_points(group=GROUP):
        if point.name == engine:
            found: Speaker = point.load()()
            return found
    return EspeakSpeaker()


def _wave(content: bytes) -> tuple[npt.NDArray[np.int16], int]:
    """Read a WAV file that was written to a pipe: its lengths are wrong, for they were not known."""
    at, rate = 12, 0
    while at + _HEAD.size <= len(content):
        kind, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if kind == b"fmt ":
            rate = int.from_bytes(content[at + 4 : at + 8], "little")
        if kind == b"data" and rate:
            whole = (len(content) - at) // 2 * 2
            return np.frombuffer(content[at : at + whole], "<i2").astype(np.int16), rate
        at += size
    raise MediaError("expected a WAV file, got something else")
