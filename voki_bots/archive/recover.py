"""Ending the tracks that a crash cut off, from what their files hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from voki_bots.calls import GapCause
from voki_bots.units import to_seconds

_LEAST = 0.001


def missing_lines(directory: Path, sidecar: Mapping[str, Any]) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Say what the journal lacks about tracks that have a beginning and no end.

    What neither the file nor a journalled gap accounts for was received, but not yet written when the
    crash came: a gap with the cause `stalled`.

    Args:
        directory: The folder of the call.
        sidecar: The fold of its journal.

    Yields:
        Call time, type and facts of lines to append: `gap_found` and `track_ended`, with ``recovered=True``.
    """
    for track in sidecar["tracks"]:
        if track["start"] is None or track["end"] is not None or track["kind"] != "audio":
            continue
        # Where there was a recorder, the kill may have come before the first packet was on the disk.
        unwritten = track["file"] is None and sidecar["finish"]["planned"] is not None
        packets = [] if unwritten else _packets(directory, track)
        if packets is None:
            continue
        audio = sum(end - start for start, end in packets)
        gaps = [(gap["start"], gap["end"]) for gap in track["gaps"]]
        covered = sorted([*packets, *gaps])
        begin = min([track["start"], *(start for start, _ in covered)])
        end = max([track["start"], *(end for _, end in covered)])
        facts = {"track": track["id"], "recovered": True}
        for start, stop in _uncovered(covered, begin):
            yield stop, "gap_found", facts | {"start": start, "end": stop, "cause": str(GapCause.STALLED)}
        yield end, "track_ended", facts | {"audio": audio}


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
