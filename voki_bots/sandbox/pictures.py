"""What people show: a plain colour of their own, a bar that moves, and the number of the frame in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

WIDTH, HEIGHT = 160, 96
RATE = 15
"""Frames per second."""

CLOCK_RATE = 90_000
"""RTP ticks per second (RFC 7741 section 4.1, RFC 6184 section 8.2.1)."""

CODECS = ("vp8", "h264")
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (210, 200, 50)}
"""What a person's picture is filled with, in RGB."""

BLOCK, BITS = 8, 16


def draw(number: int, colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Draw a frame: uint8, shape (HEIGHT, WIDTH, 3); its number is in the first row, lowest bit left."""
    picture = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[:] = colour
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    left = number * 4 % (WIDTH - BLOCK)
    picture[HEIGHT // 2 :, left : left + BLOCK] = 255
    return picture


def number_of(picture: npt.NDArray[np.uint8]) -> int:
    """Read the number of a frame that `draw` made and a codec has been through."""
    middles = [picture[BLOCK // 2, bit * BLOCK + BLOCK // 2].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 128)


class Camera:
    """Encodes one person's picture, frame by frame, into RTP payloads.

    Args:
        codec: One of `CODECS`.
        colour: One of `COLOURS`.
    """

    def __init__(self, codec: str, colour: str) -> None:
        self.number = 0
        self._colour = COLOURS[colour]
        self._encoder: Any = Vp8Encoder() if codec == "vp8" else H264Encoder()

    def shoot(self, *, key: bool) -> Sequence[bytes]:
        """Encode the next frame; a `key` frame if it must be one."""
        frame = av.VideoFrame.from_ndarray(draw(self.number, self._colour), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = self.number * CLOCK_RATE // RATE, Fraction(1, CLOCK_RATE)
        self.number += 1
        payloads, _ = self._encoder.encode(frame, force_keyframe=key)
        return [bytes(payload) for payload in payloads]
