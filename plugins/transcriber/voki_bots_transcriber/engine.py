"""The port to what recognises speech; it is used in a process of its own, see `child`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

RATE = 16_000
"""Samples per second that every engine is fed with."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One recognised word; times in seconds since the recogniser's first sample."""

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What was said in a stretch of speech; nothing, if `text` is empty."""

    text: str
    words: tuple[Spoken, ...] = ()


class Recogniser(Protocol):
    """Recognises one voice at a time; only one thread may use it at once.

    Attributes:
        fed: Samples that it was fed since it was made; its times count from the first of them.
    """

    fed: int

    def feed(self, pcm: bytes) -> Result | None:
        """Take int16 samples at `RATE`; give a result where the engine finds the end of an utterance."""

    def result(self) -> str:
        """What has been understood of the utterance that is going on; empty if the engine cannot say."""

    def final(self) -> Result:
        """End the utterance and give what was said since the last result."""

    def reset(self) -> None:
        """Forget the utterance that is going on."""


class Engine(Protocol):
    """A loaded model. Any number of recognisers may use it at once, each in a thread of its own."""

    def recogniser(self) -> Recogniser:
        """Make a recogniser."""

    def unknown(self, phrases: Sequence[str]) -> list[str]:
        """Give the words of these phrases that the model can never recognise."""


def load(kind: str, path: Path, *, language: str, phrases: Sequence[str], threads: int) -> Engine:
    """Load a model.

    Args:
        kind: ``vosk`` or ``faster-whisper``.
        path: The folder of the model.
        language: Which is spoken; not every engine wants to know.
        phrases: Nothing but these is recognised, if there are any.
        threads: How many recognisers are used at once.

    Raises:
        Exception: Whatever the engine raises; `ImportError` if it is not installed.
    """
    if kind == "vosk":
        from voki_bots_transcriber.vosk_engine import VoskEngine

        return VoskEngine(path, phrases)
    if kind == "faster-whisper":
        from voki_bots_transcriber.whisper_engine import WhisperEngine

        return WhisperEngine(path, language, phrases, threads)
    raise ValueError(f"there is no engine {kind!r}; there are vosk and faster-whisper")
