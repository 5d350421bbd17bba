"""A picture of a call: who was loud when, and where tracks have gaps. SVG by hand. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt

from voki_bots.units import FULL_SCALE

COLUMNS = 800
"""Into how many parts of equal length a call is divided."""

_NAME_WIDTH, _ROW, _AXIS = 160, 56, 28
_QUIET = -60.0
_COLOURS = {"attendant": "#2b6cb0", "customer": "#c05621", "supervisor": "#6b46c1", "bot": "#2f855a"}
_OTHER = "#4a5568"


class Levels:
    """Measures the loudest sample in each column of a call, block by block.

    Args:
        total: Samples in the call.
    """

    def __init__(self, total: int) -> None:
        self._size = max(1, -(-total // COLUMNS))
        self.peaks = np.zeros(max(1, -(-total // self._size)), dtype=np.int32)

    def take(self, begin: int, samples: npt.NDArray[np.int16]) -> None:
        """Take the samples from `begin` on: int16, shape (n,)."""
        first, last = begin // self._size, (begin + len(samples) - 1) // self._size
        edges = np.maximum(np.arange(first, last + 1) * self._size - begin, 0)
        loud = np.maximum.reduceat(np.abs(samples.astype(np.int32)), edges)
        self.peaks[first : last + 1] = np.maximum(self.peaks[first : last + 1], loud)


@dataclass(slots=True)
class Row:
    """One participant in the picture.

    Attributes:
        name: As shown.
        role: Decides the colour.
        levels: How loud they were.
        gaps: (start, end, cause) in seconds, where there is nothing of them.
    """

    name: str
    role: str
    levels: Levels
    gaps: list[tuple[float, float, str]] = field(default_factory=list)


def draw(rows: Sequence[Row], duration: float, title: str) -> str:
    """Draw a call as SVG.

    Args:
        rows: From top to bottom.
        duration: Seconds of call time.
        title: Said to those who cannot see.
    """
    width, height = _NAME_WIDTH + COLUMNS, _ROW * len(rows) + _AXIS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(_printable(title))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, row in enumerate(rows):
        parts += _row(row, number * _ROW, duration)
    parts += _axis(_ROW * len(rows), duration)
    return "\n".join([*parts, "</svg>", ""])


def _row(row: Row, top: int, duration: float) -> list[str]:
    middle = top + _ROW / 2
    colour = _COLOURS.get(row.role, _OTHER)
    parts = [
        f'<g><text x="8" y="{middle:.0f}" fill="#1a202c">{escape(_printable(row.name)[:22])}</text>',
        f'<text x="8" y="{middle + 14:.0f}" fill="#718096" font-size="10">{escape(row.role)}</text>',
    ]
    for start, end, cause in row.gaps:
        left, right = _x(start, duration), _x(end, duration)
        if right - left >= 0.5:
            parts.append(
                f'<rect x="{left:.1f}" y="{top + 4}" width="{right - left:.1f}" height="{_ROW - 8}" '
                f'fill="#edf2f7" data-cause={quoteattr(cause)}>'
                f"<title>{escape(f'{cause} {start:.2f}–{end:.2f} s')}</title></rect>"
            )
    step = COLUMNS / len(row.levels.peaks)
    bars = []
    for column, peak in enumerate(row.levels.peaks):
        if (size := _size(int(peak))) > 0:
            x = _NAME_WIDTH + (column + 0.5) * step
            bars.append(f"M{x:.1f} {middle - size:.1f}V{middle + size:.1f}")
    stroke = f'stroke="{colour}" stroke-width="{max(0.6, step * 0.8):.1f}"'
    parts.append(f'<path d="{"".join(bars)}" {stroke} fill="none"/></g>')
    return parts


def _size(peak: int) -> float:
    """Half the height of a bar: linear in decibels, nothing below `_QUIET`."""
    if peak <= 0:
        return 0.0
    share = 1.0 - 20.0 * math.log10(peak / FULL_SCALE) / _QUIET
    return max(0.0, min(1.0, share)) * (_ROW / 2 - 5)


def _axis(top: int, duration: float) -> list[str]:
    step = next((each for each in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if duration / each <= 10), 3600)
    parts = [f'<path d="M{_NAME_WIDTH} {top}H{_NAME_WIDTH + COLUMNS}" stroke="#a0aec0" fill="none"/>']
    for at in range(0, math.floor(duration) + 1, step):
        minutes, seconds = divmod(at, 60)
        x = _x(at, duration)
        parts.append(f'<path d="M{x:.1f} {top}v5" stroke="#a0aec0" fill="none"/>')
        parts.append(f'<text x="{x:.1f}" y="{top + 18}" fill="#718096">{minutes}:{seconds:02}</text>')
    return parts


def _x(seconds: float, duration: float) -> float:
    return _NAME_WIDTH + COLUMNS * min(1.0, max(0.0, seconds / duration if duration > 0 else 0.0))


def _printable(text: str) -> str:
    """XML cannot hold control characters, not even escaped."""
    return "".join(each if each.isprintable() else "·" for each in text)
