"""A call as a line of text for each track: loud, quiet, or a gap with its cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voki_bots.errors import VokiError
from voki_bots.units import FULL_SCALE, SAMPLE_RATE, to_dbfs

_BLOCKS = " ▁▂▃▄▅▆▇█"
_QUIET, _LOUD = -60.0, -12.0
_RATE = 8_000
_CAUSES = {
    "lost": "x",
    "muted": "m",
    "dtx": "·",
    "held": "h",
    "masked": "#",
    "no_consent": "!",
    "redial": "r",
    "late_join": "-",
    "stalled": "s",
}

LEGEND = (
    " ".join(f"{sign} {cause}" for cause, sign in _CAUSES.items()) + " ~ audio of unknown level = pictures"
)
"""What the signs of a row mean."""


def row(directory: Path, track: Mapping[str, Any], duration: float, width: int) -> str:
    """Draw one track of a sidecar.

    Args:
        directory: The call's folder, whose files are decoded to see how loud they are.
        track: As in the sidecar.
        duration: Of the call, in seconds.
        width: How many characters to draw.
    """
    start, end = track.get("start"), track.get("end")
    if start is None or duration <= 0:
        return " " * width
    step = duration / width
    first, last = _cell(start, step), math.ceil((end if end is not None else duration) / step)
    filmed = track.get("kind") == "video"
    heard = None if filmed else _levels(directory, track, step)
    signs = [" "] * width
    for index in range(first, min(last, width)):
        if heard is None:
            signs[index] = "=" if filmed else "~"
        elif index - first < len(heard):
            signs[index] = _block(heard[index - first])
    for gap in track.get("gaps", []):
        for index in range(_cell(gap["start"], step), min(width, math.ceil(gap["end"] / step))):
            # A gap that fills less than half of a cell is too short to be drawn over audio.
            covered = min(gap["end"], (index + 1) * step) - max(gap["start"], index * step)
            if covered >= step / 2 or not first <= index < last:
                signs[index] = _CAUSES.get(str(gap["cause"]), "?")
    return "".join(signs)


def ruler(duration: float, width: int) -> str:
    """Write the beginning and the end of call time under the rows."""
    end = f"{duration:.0f} s"
    return "0" + end.rjust(width - 1)


def _cell(seconds: float, step: float) -> int:
    return max(0, math.floor(seconds / step + 1e-9))


def _block(level: float) -> str:
    share = min(1.0, max(0.0, (level - _QUIET) / (_LOUD - _QUIET)))
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]


def _levels(directory: Path, track: Mapping[str, Any], step: float) -> list[float] | None:
    """Measure dBFS in every `step` seconds of a track's file; None if it cannot be decoded."""
    import numpy as np

    from voki_bots.media.containers import opus_packets
    from voki_bots.media.opus import Decoder

    path = directory / str(track.get("file"))
    # The sidecar may have been written by anybody: it must not make us read elsewhere.
    if track.get("codec") != "opus" or directory.resolve() not in path.resolve().parents:
        return None
    size, decoder, energies, end = max(1, round(step * _RATE)), Decoder(_RATE), [0.0], 0
    try:
        for ticks, payload in opus_packets(path):
            at = ticks * _RATE // SAMPLE_RATE
            samples = decoder.decode(payload).astype(np.float64) / FULL_SCALE
            # A packet counts where it begins: it is much shorter than what one sign stands for.
            energies += [0.0] * (at // size + 1 - len(energies))
            energies[at // size] += float(np.dot(samples, samples))
            end = at + len(samples)
    except (VokiError, OSError, ValueError):
        return None
    lengths = [min(size, max(1, end - index * size)) for index in range(len(energies))]
    return [to_dbfs(math.sqrt(energy / length)) for energy, length in zip(energies, lengths, strict=True)]
