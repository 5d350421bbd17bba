"""`transcript.jsonl`: what was said in a call, one line for each utterance, written while it runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voki_bots import (
    Attendance,
    FileWriteError,
    Found,
    Track,
    UtteranceHeard,
    caption_files,
    new_file,
    read_transcript,
    transcript_line,
)

NAME = "transcript.jsonl"
VERSION = 1

_SEPARATORS = (",", ":")


class Transcript:
    """The file of one call. It only grows, and what a kill leaves can be read to its last whole line.

    Args:
        call: The call; the file is in its folder.
        writing: Where the disk is waited for.
        recipients: Public keys of age for whom it is encrypted; with none it is readable.
        facts: What its first line says beside whose it is: engine, model, language.
    """

    def __init__(
        self,
        call: Attendance,
        writing: ThreadPoolExecutor,
        *,
        recipients: Sequence[str] = (),
        **facts: Any,
    ) -> None:
        self._call = call
        self._writing = writing
        self._failed = False
        self._path, before = _path(call.directory, encrypted=bool(recipients))
        self._numbers = itertools.count(before + 1)
        self._readable = not recipients
        self._file = new_file(self._path, recipients, lines=True)
        head = {
            "type": "transcript",
            "version": VERSION,
            "tenant": call.call.tenant,
            "call": call.call.call_id,
        }
        self._append({**head, "bot": call.bot, **facts})

    def next_id(self) -> str:
        """Name the next utterance; no other in this call has the name."""
        return f"u{next(self._numbers)}"

    def utterance(self, heard: UtteranceHeard, redacted: Sequence[Found] = ()) -> None:
        """Append what was said."""
        self._append(transcript_line(heard, redacted))

    def gap(self, track: Track | None, start: float, end: float, cause: str) -> None:
        """Append that something was said and not recognised."""
        span = {"start": round(start, 3), "end": round(end, 3)}
        self._append({"type": "gap", "track": track and str(track), **span, "cause": cause})

    def close(self) -> None:
        """Make it durable, and of a readable one what people read; returns when that is done."""
        self._do(self._file.close)
        if self._readable:
            self._do(self._caption)
        self._do(lambda: None).result()

    def _caption(self) -> None:
        kept = read_transcript(self._path.parent)
        if kept is None:
            return
        for name, content in caption_files(kept.utterances, kept.facts).items():
            path = self._path.with_name(name)
            path.unlink(missing_ok=True)  # of an earlier attendance, which finishing takes in again
            file = new_file(path)
            file.write(content.encode("utf-8", "replace"))
            file.close()

    def _append(self, line: dict[str, Any]) -> None:
        said = json.dumps(line, ensure_ascii=False, separators=_SEPARATORS) + "\n"
        self._do(lambda: self._file.write(said.encode("utf-8", "replace")))

    def _do(self, act: Callable[[], object]) -> Any:
        return self._writing.submit(self._guarded, act)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (FileWriteError, OSError) as error:  # captions go on: they can still be read live
            if not self._failed:
                self._failed = True
                self._call.log.error("transcript_failed", path=str(self._path), why=str(error))


def _path(directory: Path, *, encrypted: bool) -> tuple[Path, int]:
    """Where it is written, and how many utterances at most were named before."""
    if not encrypted:
        path = directory / NAME
        return path, _lines(path)
    number = 1
    while (path := directory / (f"transcript-{number}.jsonl.enc" if number > 1 else f"{NAME}.enc")).exists():
        number += 1  # an encrypted file cannot be taken up again
    return path, (number - 1) * 1_000_000


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 16), b""))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise FileWriteError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
