"""The journal of a call: what happened, in order, provably unaltered.

One JSON object a line, ``{seq, at, utc, type, ..., prev, hash}``. `hash` is the SHA-256 of the line's
canonical JSON without `hash` itself, `prev` the hash of the line before it: whoever changes, removes or
adds a line in the middle breaks the chain there. Where the chain ends is told by the sidecar.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from voki_bots.archive.layout import open_private, writing
from voki_bots.errors import FileWriteError

Line: TypeAlias = "dict[str, Any]"
"""One line of a journal, parsed."""

GENESIS = "0" * 64
"""What the first line has for `prev`."""

AHEAD = 1.0
"""Seconds by which media may be ahead of the clock: a packet that just came lasts a while."""

UNREADABLE = "unreadable"
"""The type given to a line that is no JSON object; it has no hash."""

_PROBES, _PROBE = 3, 0.005

_RESERVED = frozenset({"seq", "at", "utc", "type", "prev", "hash"})


class Journal:
    """An append-only journal on disk. Each line is handed to the operating system before `append` returns.

    What a crash left is continued: a torn last line is cut off, and a `journal_repaired` line says so.
    `append` may be called from any thread.

    Args:
        path: The file; it is made 0600 if it is missing.
        clock: Gives seconds of call time.
        wall: Gives the time in UTC.

    Raises:
        FileWriteError: If the file cannot be opened, or is open in another journal, here or elsewhere.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self.path = path
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        with writing(path):
            self._file = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            self._claim()
            with writing(path):
                self.found, cut = self._take_up()
        except BaseException:
            os.close(self._file)
            raise
        self.lines = len(self.found)
        self.head: str = self.found[-1].get("hash", GENESIS) if self.found else GENESIS
        self._closed = False
        if cut:
            at = self.found[-1].get("at", 0.0) if self.found else 0.0
            self.found.append(self.append_at(at, "journal_repaired", cut_bytes=cut))

    def append(self, type_: str, /, **facts: Any) -> Line:
        """Write one line and return it.

        Args:
            type_: What happened, in snake_case and the past tense.
            facts: Anything JSON can say; other values are written as text. A fact `at` that is not beyond
                now is taken as the line's own; names that the line needs itself get a ``_`` behind.

        Raises:
            FileWriteError: If the disk does not take it; the file then ends with the line before.
        """
        now = round(self._clock(), 6)
        at = facts.pop("at", None)
        if isinstance(at, int | float) and 0 <= at <= now + AHEAD:
            now = round(float(at), 6)
        elif at is not None:
            facts["at_"] = at
        return self.append_at(now, type_, **facts)

    def append_at(self, at: float, type_: str, /, **facts: Any) -> Line:
        """Write one line about something that is known to have happened at another time than now.

        See `append`; `at` is seconds of call time.
        """
        with self._lock:
            line: Line = {"seq": self.lines + 1, "at": round(at, 6), "utc": _iso(self._wall()), "type": type_}
            for name, value in facts.items():
                line[name + "_" if name in _RESERVED else name] = _plain(value)
            line["prev"] = self.head
            line["hash"] = hash_of(line)
            self._write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self.lines += 1
            self.head = line["hash"]
            return line

    def sync(self) -> None:
        """Wait until the disk has every line.

        Raises:
            FileWriteError: If the disk fails.
        """
        with writing(self.path):
            os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file. It may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._file)

    def _claim(self) -> None:
        for left in reversed(range(_PROBES)):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not left:
                    said = f"{self.path} is being written already"
                    raise FileWriteError(said, path=str(self.path)) from error
                # Somebody may only be looking whether the call is running; that takes microseconds.
                time.sleep(_PROBE)
            else:
                return

    def _take_up(self) -> tuple[list[Line], int]:
        """Read what is there and cut off a torn end; return the lines and how many bytes were cut."""
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            content = file.read()
        lines = parse_journal(content)
        keep = len(content)
        while lines and lines[-1]["type"] == UNREADABLE:
            keep = content.rfind(b"\n", 0, keep - 1) + 1
            lines.pop()
        if keep < len(content):
            os.ftruncate(self._file, keep)
        return lines, len(content) - keep

    def _write(self, data: bytes) -> None:
        if self._closed:
            raise FileWriteError(f"{self.path} is closed", path=str(self.path))
        with writing(self.path):
            before = os.fstat(self._file).st_size
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(self._file, rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, before)
                raise


def hash_of(line: Mapping[str, Any]) -> str:
    """Compute what a line's `hash` must be: SHA-256 over its keys in order, without spaces, as ASCII."""
    rest = {name: value for name, value in line.items() if name != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_journal(path: Path) -> list[Line]:
    """Read all lines; one that cannot be read is there with the type `UNREADABLE`.

    Raises:
        OSError: If the file cannot be read.
    """
    return parse_journal(path.read_bytes())


def parse_journal(content: bytes) -> list[Line]:
    """Read lines as `read_journal` does, from bytes. A last line without its end counts as unreadable."""
    *whole, torn = content.split(b"\n")
    lines = [_parse(raw) for raw in whole]
    return [*lines, {"type": UNREADABLE}] if torn else lines


def check_chain(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say where the chain of a journal is broken, one sentence for each line; empty is good."""
    problems = []
    head = GENESIS
    for number, line in enumerate(lines, 1):
        if line.get("type") == UNREADABLE and "hash" not in line:
            problems.append(f"line {number} of the journal cannot be read")
            continue
        if line.get("seq") != number:
            problems.append(f"line {number} of the journal calls itself {line.get('seq')!r}")
        if line.get("prev") != head:
            problems.append(f"line {number} of the journal does not follow the line before it")
        if line.get("hash") != hash_of(line):
            problems.append(f"line {number} of the journal was changed")
        head = line.get("hash", GENESIS)
    return problems


def _parse(raw: bytes) -> Line:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return {"type": UNREADABLE}
    if not isinstance(line, dict) or not isinstance(line.get("type"), str):
        return {"type": UNREADABLE}
    return line


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """Reduce a value to what JSON can say and read back the same."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return round(value, 6) if math.isfinite(value) else str(value)
        case str():
            return str(value)
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
        case _:
            return str(value)
