"""Ending the tracks that a crash cut off, from what their files hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voki_bots.calls import GapCause
from voki_bots.units import to_seconds

_LEAST = 0.001

UNWRITTEN = 1.0
"""Seconds of a track that may be lost by a crash; what lived longer without a file lacks something."""


def missing_lines(
    directory: Path, sidecar: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Say what the journal lacks about tracks that have a beginning and no end.

    What neither the file nor a journalled gap accounts for was received, but not yet written when the
    crash came: a gap with the cause `stalled`, even if that was all between the first packet and the line
    that says that the track began. A track that had no file yet, and began less than
    `UNWRITTEN` before the crash, holds nothing.

    Args:
        directory: The folder of the call.
        sidecar: The fold of its journal.
        lines: Its journal.

    Yields:
        Call time, type and facts of lines to append: `gap_found` and `track_ended`, with ``recovered=True``.
    """
    for track in sidecar["tracks"]:
        if track["start"] is None or track["end"] is not None or track["kind"] != "audio":
            continue
        # Where there was a recorder, the kill may have come before the first packet was on the disk.
        unwritten = track["file"] is None and sidecar["finish"]["planned"] is not None
        young = unwritten and _lived(track, lines) < UNWRITTEN and not _strays(directory, sidecar)
        packets = [] if young else _packets(directory, track)
        if packets is None:
            continue
        audio = sum(end - start for start, end in packets)
        gaps = [(gap["start"], gap["end"]) for gap in track["gaps"]]
        covered = sorted([*packets, *gaps])
        begin = min([track["start"], *(start for start, _ in covered)])
        end = max([track["start"], *(end for _, end in covered)])
        facts = {"track": track["id"], "recovered": True}
        for start, stop in _uncovered([*covered, (end, end)], begin):
            yield stop, "gap_found", facts | {"start": start, "end": stop, "cause": str(GapCause.STALLED)}
        yield end, "track_ended", facts | {"audio": audio}


def _lived(track: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> float:
    """For how many seconds after a track began its attendance wrote to the journal."""
    began = False
    last = float(track["start"])
    for line in lines:
        if began and line["type"] == "attendance_opened":
            break
        began |= line["type"] == "track_started" and line.get("track") == track["id"]
        last = max(last, float(line.get("at", 0.0))) if began else last
    return last - float(track["start"])


def _strays(directory: Path, sidecar: Mapping[str, Any]) -> bool:
    """Whether there is audio in a file that the journal gives to no track: then one is not without a file."""
    named = {track["file"] for track in sidecar["tracks"]}
    files = [path for path in directory.glob("tracks/*") if str(path.relative_to(directory)) not in named]
    return any(_holds(path) for path in files)


def _holds(path: Path) -> bool:
    try:
        return any(True for _ in _ticks(path))
    except (OSError, ValueError):
        return path.stat().st_size > 0


def track_path(directory: Path, track: Mapping[str, Any]) -> Path | None:
    """Find the file of a track; None if there is none, or the journal would lead us out of the folder."""
    if not isinstance(track["file"], str) or not isinstance(track["file_start"], int | float):
        return None
    path = (directory / track["file"]).resolve()
    return path if path.is_relative_to(directory.resolve()) and path.is_file() else None


def _packets(directory: Path, track: Mapping[str, Any]) -> list[tuple[float, float]] | None:
    """Read the spans of call time that a track's file holds; None if there is no such file."""
    if (path := track_path(directory, track)) is None:
        return None
    zero = float(track["file_start"])
    try:
        return [(zero + to_seconds(begin), zero + to_seconds(end)) for begin, end in _ticks(path)]
    except (OSError, ValueError):
        return None


def _ticks(path: Path) -> Iterator[tuple[int, int]]:
    """Read which ticks a track's file holds; an encrypted one tells that to everybody."""
    # Listing and verifying calls need no codec, so it is loaded only here.
    from voki_bots.media.containers import opus_packets
    from voki_bots.media.encrypted import ENDING, spans
    from voki_bots.media.opus import packet_ticks

    if path.suffix == ENDING:
        yield from spans(path)
        return
    for at, payload in opus_packets(path):
        yield at, at + packet_ticks(payload)


def _uncovered(covered: Iterable[tuple[float, float]], begin: float) -> Iterator[tuple[float, float]]:
    """Find what lies between sorted spans, from `begin` on."""
    reached = begin
    for start, end in covered:
        if start - reached > _LEAST:
            yield reached, start
        reached = max(reached, end)
