"""How loud a recording is from moment to moment, side by side, for a picture that can be clicked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voki_bots.calls import Role
from voki_bots.media.audiofile import audio_blocks

RATE = 8_000
"""Samples per second at which it is looked at: speech, and a sixth of the work."""

POINTS = 2_000
"""Points that a waveform has at most."""


def waveform(directory: Path, sidecar: Mapping[str, Any], player: str, points: int) -> dict[str, Any]:
    """Measure what is played of a recording; it decodes all of it, a few seconds for each hour.

    Args:
        directory: The recording's folder.
        sidecar: Its sidecar.
        player: The file that is played.
        points: How many there shall be at most.

    Returns:
        ``seconds``, the ``step`` from one point to the next in seconds, and ``sides``: by name (a role of the
        two of a stereo file, else ``mix``), peaks from 0 to 1.

    Raises:
        ValueError: If it cannot be decoded.
        OSError: If it cannot be read.
    """
    outputs = {each["kind"]: each for each in (sidecar.get("finish") or {}).get("outputs") or ()}
    stereo = outputs.get("stereo")
    path = directory / player
    names: Sequence[str] = ("mix",)
    if stereo is not None and (directory / stereo["path"]).is_file():
        path, names = directory / stereo["path"], _sides(stereo, sidecar)
    peaks = _peaks(audio_blocks(path, RATE))
    seconds = len(peaks) * _SPAN / RATE
    each = max(1, -(-len(peaks) // min(max(points, 1), POINTS)))
    whole = np.concatenate([peaks, np.zeros((-len(peaks) % each, peaks.shape[1]), np.float32)])
    found = whole.reshape(-1, each, peaks.shape[1]).max(axis=1) if len(whole) else whole
    sides = names if len(names) == found.shape[1] else tuple(f"side {n + 1}" for n in range(found.shape[1]))
    return {
        "seconds": round(seconds, 3),
        "step": round(each * _SPAN / RATE, 4),
        "sides": {name: [round(float(peak), 3) for peak in found[:, n]] for n, name in enumerate(sides)},
    }


_SPAN = RATE // 50
"""Samples of the shortest span that has a peak of its own: 20 ms."""


def _peaks(blocks: Iterable[npt.NDArray[np.int16]]) -> npt.NDArray[np.float32]:
    """The peaks of each 20 ms, from 0 to 1: shape (n, channels). Blocks may end anywhere."""
    parts: list[npt.NDArray[np.float32]] = []
    rest: npt.NDArray[np.int16] | None = None
    for block in blocks:
        whole = block if rest is None else np.concatenate([rest, block])
        count = len(whole) // _SPAN * _SPAN
        parts.append(_peaks_of(whole[:count]))
        rest = whole[count:]
    if rest is not None and len(rest):
        padded = np.zeros((_SPAN, rest.shape[1]), np.int16)
        padded[: len(rest)] = rest
        parts.append(_peaks_of(padded))
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def _peaks_of(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    loud = np.abs(samples.astype(np.float32)) / np.float32(32_768)
    return np.asarray(loud.reshape(-1, _SPAN, samples.shape[1]).max(axis=1), np.float32)


def _sides(stereo: Mapping[str, Any], sidecar: Mapping[str, Any]) -> Sequence[str]:
    """Whose voice is on the left and on the right."""
    roles = {str(each["id"]): str(each["role"]) for each in sidecar.get("tracks") or ()}
    usual = (str(Role.ATTENDANT), str(Role.CUSTOMER))
    found = []
    for number, tracks in enumerate(stereo["channels"]):
        known = next((roles[track] for track in tracks if track in roles), "")
        found.append(known if known and known not in found else usual[number % 2])
    return found
