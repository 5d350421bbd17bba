"""Taking out of a voice what must not be kept: packets of silence in place of those that held it.

Everything else of a track stays as it came: the other packets bit for bit, all positions, all gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from voki_bots.archive.layout import writing
from voki_bots.archive.recover import track_path
from voki_bots.media.containers import OggOpusWriter, opus_packets
from voki_bots.media.encrypted import Keys
from voki_bots.media.opus import Encoder, packet_ticks
from voki_bots.units import to_samples

PADDING = 0.15
"""Seconds around a span that go too: words are placed no better, and packets hold copies of the last."""

MOST_TICKS = 5760
"""The longest packet of Opus: 120 ms (RFC 6716 section 2.1.4)."""

Spans = Mapping[str, Sequence[tuple[float, float]]]
"""Spans of call time in seconds, by the id of a track."""


def masked(
    packets: Iterable[tuple[int, bytes]], start: float, spans: Sequence[tuple[float, float]]
) -> Iterator[tuple[int, bytes]]:
    """Put silence in place of the packets that touch a span.

    Args:
        packets: (ticks at 48 kHz, Opus payload), as a track's file gives them.
        start: Seconds of call time at which tick 0 lies.
        spans: Seconds of call time; they are padded here.
    """
    padded = [
        (to_samples(begin - PADDING - start), to_samples(end + PADDING - start)) for begin, end in spans
    ]
    for at, payload in packets:
        ticks = packet_ticks(payload)
        touched = ticks and any(at < end and at + ticks > begin for begin, end in padded)
        yield at, silence(ticks) if touched else payload


@cache
def silence(ticks: int) -> bytes:
    """Make an Opus packet of silence that lasts so many ticks at 48 kHz.

    Raises:
        ValueError: If no packet of Opus lasts so long (RFC 6716 section 3.1).
    """
    if ticks in (120, 240, 480, 960, 1920, 2880):
        return _encoded(ticks)
    for size in (960, 480, 240, 120):
        frames, rest = divmod(ticks, size)
        if not rest and 1 <= frames <= MOST_TICKS // size:
            one = _encoded(size)
            # Code 3: a count, then as many frames of one size (RFC 6716 section 3.2.5).
            return bytes([one[0] | 3, frames]) + one[1:] * frames
    raise ValueError(f"no packet of Opus lasts {ticks} ticks")


def _encoded(ticks: int) -> bytes:
    encoder = Encoder()
    nothing = np.zeros(ticks, dtype=np.int16)
    for _ in range(5):  # it needs some packets to settle
        made = encoder.encode(nothing)
    return made


def mask_tracks(
    directory: Path,
    tracks: Iterable[Mapping[str, Any]],
    spans: Spans,
    aside: Path,
    *,
    keys: Keys | None = None,
    recipients: Sequence[str] = (),
) -> Iterator[tuple[Mapping[str, Any], Sequence[tuple[float, float]]]]:
    """Replace the files of tracks, one by one, by others without these spans.

    Args:
        directory: The folder of the call.
        tracks: As in its sidecar.
        spans: What must go.
        aside: A folder on the same disk, where the new ones are made.
        keys: What decrypts them.
        recipients: For whom the new ones are encrypted.

    Yields:
        Each track whose file was replaced, and the spans.

    Raises:
        FileWriteError: If the disk does not let us.
    """
    for track in tracks:
        path = track_path(directory, track)
        wanted = spans.get(str(track["id"]), ())
        if path is None or not wanted or track["codec"] != "opus":
            continue
        new = aside / f"masked-{path.name}"
        with writing(new):
            new.unlink(missing_ok=True)
        writer = OggOpusWriter(new, recipients=recipients)
        try:
            for at, payload in masked(opus_packets(path, keys), float(track["file_start"]), wanted):
                writer.write(payload, at, packet_ticks(payload))
        finally:
            writer.close()
        with writing(path):
            new.replace(path)
        yield track, wanted
