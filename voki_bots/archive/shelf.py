"""What is in archives, for whoever looks again and again: only folders that changed are read anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voki_bots.archive.layout import JOURNAL, SIDECAR, call_directories
from voki_bots.archive.seal import read_call
from voki_bots.archive.transcript import transcripts_in
from voki_bots.media.encrypted import ENDING

PLAYED = ("composite", "mix", "stereo")
"""Kinds of what is made of a call, the best to play first."""

TYPES = {
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mka": "audio/x-matroska",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt",
    ".txt": "text/plain",
    ".srt": "application/x-subrip",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
}
"""What files are, by their endings; anything else is bytes."""

_OTHERS = {".jsonl": "journal", ".vtt": "captions", ".srt": "captions", ".svg": "picture"}


@dataclass(frozen=True, slots=True)
class Shelved:
    """One recording, as far as lists tell of it.

    Attributes:
        directory: Where it is.
        tenant: As the platform calls it.
        call: The call's id.
        bot: Who attended.
        started: ISO 8601 in UTC; empty if it is not known.
        facts: What is shown of it.
        words: What is searched, in small letters.
    """

    directory: Path
    tenant: str
    call: str
    bot: str
    started: str
    facts: Mapping[str, Any]
    words: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where it stands in a list."""
        return self.started, self.tenant, self.call, self.bot


class Shelf:
    """Every recording below some directories. Its methods touch the disk: call them off the event loop.

    Args:
        roots: The directories.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(dict.fromkeys(roots))
        self._known: dict[Path, tuple[tuple[int, int], Shelved | None]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Shelved]:
        """Give all of them, the newest first."""
        with self._lock:
            known, self._known = self._known, {}
            for directory in self._directories():
                stamp = _stamp(directory)
                former = known.get(directory)
                made = former[1] if former is not None and former[0] == stamp else shelved(directory)
                self._known[directory] = stamp, made
            found = [made for _, made in self._known.values() if made is not None]
        return sorted(found, key=lambda each: each.place, reverse=True)

    def _directories(self) -> Iterator[Path]:
        for root in self._roots:
            yield from call_directories(root)


def _stamp(directory: Path) -> tuple[int, int]:
    """What changes whenever the folder's sidecar or journal does."""
    for name in (SIDECAR, JOURNAL):
        try:
            found = (directory / name).stat()
        except OSError:
            continue
        return found.st_mtime_ns, found.st_size
    return 0, 0


def shelved(directory: Path) -> Shelved | None:
    """Read what lists tell of a folder; None if it holds no recording.

    A supervisor's session keeps a journal beside the recording that it is about; it is none itself.
    """
    found = read_call(directory)
    if found is None:
        return None
    sidecar = found.sidecar
    try:
        kept = any(track.get("file") for track in found.tracks)
        if not (kept or (sidecar.get("finish") or {}).get("planned") or transcripts_in(directory)):
            return None
        facts = _facts(directory, found.sidecar, found.duration, sealed=found.sealed)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        facts = {"problems": [f"its sidecar cannot be read: {type(error).__name__}"]}
    named = [each["name"] for each in facts.get("participants", ())]
    words = " ".join([found.call, str(facts.get("department") or ""), *named]).casefold()
    more = {"tenant": found.tenant, "call": found.call, "bot": found.bot, "started": found.started or None}
    return Shelved(directory, found.tenant, found.call, found.bot, found.started or "", more | facts, words)


def _facts(directory: Path, sidecar: Mapping[str, Any], duration: float, *, sealed: bool) -> dict[str, Any]:
    finish = sidecar.get("finish") or {}
    kinds = {output["kind"] for output in finish.get("outputs") or ()}
    return {
        "ended": sidecar.get("ended"),
        "seconds": round(duration, 2),
        "participants": [
            {"name": str(each.get("name") or each.get("id") or ""), "role": str(each.get("role"))}
            for each in sidecar.get("participants") or ()
        ],
        "department": (sidecar.get("details") or {}).get("department"),
        "transcript": bool(transcripts_in(directory)),
        "sealed": sealed,
        "held": any(each["released"] is None for each in sidecar.get("holds") or ()),
        "encrypted": bool(sidecar.get("encryption")),
        "finished": bool(finish.get("at")),
        "film": "composite" in kinds,
        "problems": [
            *map(str, (sidecar.get("invariant") or {}).get("violations") or ()),
            *map(str, finish.get("problems") or ()),
        ],
    }


def files_of(directory: Path, sidecar: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the files of a recording: those that it says itself, and that are there.

    Returns:
        For each its ``name`` (a path below the folder), ``size`` in bytes, media ``type`` and ``kind``.
    """
    outputs = {each["path"]: each["kind"] for each in (sidecar.get("finish") or {}).get("outputs") or ()}
    tracks = {each["file"] for each in sidecar.get("tracks") or () if each.get("file")}
    listed = [str(each["path"]) for each in sidecar.get("files") or ()]
    made = []
    for name in dict.fromkeys([*outputs, *listed, SIDECAR, JOURNAL]):
        path = directory / name
        if not inside(path, directory):
            continue
        kind = outputs.get(name) or ("track" if name in tracks else _OTHERS.get(path.suffix, "other"))
        kind = "sidecar" if name == SIDECAR else "transcript" if name.startswith("transcript") else kind
        made.append({"name": name, "size": path.stat().st_size, "type": type_of(name), "kind": kind})
    return made


def type_of(name: str) -> str:
    """The media type of a file."""
    ending = "" if name.endswith(ENDING) else Path(name).suffix
    return TYPES.get(ending, "application/octet-stream")


def player_of(files: Sequence[Mapping[str, Any]]) -> str | None:
    """Which of a recording's files is to be played; None if there is none that can be."""
    playable = [each for each in files if str(each["type"]).partition("/")[0] in ("audio", "video")]
    for kind in (*PLAYED, "participant", "track"):
        for each in playable:
            if each["kind"] == kind:
                return str(each["name"])
    return None


def inside(path: Path, directory: Path) -> bool:
    """Whether a path is a file in a folder, and no link leads to it or out of it."""
    try:
        return (
            path.resolve(strict=True) == directory.resolve() / path.relative_to(directory) and path.is_file()
        )
    except (OSError, ValueError, RuntimeError):
        return False
