"""Packets of real pictures for tests: the sandbox's camera encodes and packs them, PyAV decodes files."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc.codecs.vpx import Vp8Encoder

from voki_bots.calls import Track
from voki_bots.media.frames import VideoPacket
from voki_bots.media.matroska import MatroskaWriter
from voki_bots.media.video import EncodedFrame, FrameAssembler
from voki_bots.sandbox.pictures import CLOCK_RATE, HEIGHT, RATE, WIDTH, Camera, number_of

TRACK = Track(0, "1", 7, "video")
Picture = npt.NDArray[np.uint8]


def film(
    codec: str, frames: int, *, keys: Iterable[int] = (0,), colour: str = "red"
) -> Iterator[VideoPacket]:
    """Encode pictures, whose packets are numbered from 0 on."""
    camera, sequence = Camera(codec, colour), 0
    for number in range(frames):
        payloads = camera.shoot(key=number in keys)
        for index, payload in enumerate(payloads):
            at, last = number / RATE, index == len(payloads) - 1
            stamp = number * CLOCK_RATE // RATE
            yield VideoPacket(TRACK, payload, stamp, sequence, at, 0, at, None, codec, last)
            sequence += 1


def flashing(at: float, seconds: float) -> Iterator[VideoPacket]:
    """Encode a picture that is black, and white from a time on (VP8)."""
    encoder: Any = Vp8Encoder()
    sequence = -1
    for number in range(round(seconds * RATE)):
        level = 235 if number / RATE >= at - 1e-9 else 16
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = number * CLOCK_RATE // RATE, Fraction(1, CLOCK_RATE)
        payloads, _ = encoder.encode(frame, force_keyframe=number == 0)
        for index, payload in enumerate(payloads):
            last, stamp = index == len(payloads) - 1, number * CLOCK_RATE // RATE
            sequence += 1
            yield VideoPacket(
                TRACK, bytes(payload), stamp, sequence, number / RATE, 0, 0.0, None, "vp8", last
            )


def assembled(packets: Iterable[VideoPacket]) -> list[EncodedFrame]:
    """Put frames together."""
    assembler = FrameAssembler()
    return [frame for packet in packets for frame in assembler.push(packet)]


def written(path: Path, frames: list[EncodedFrame]) -> MatroskaWriter:
    """Write frames, flushed once a second as a sink is."""
    writer = MatroskaWriter(path, frames[0])
    for number, frame in enumerate(frames):
        writer.write(frame)
        if number % RATE == RATE - 1:
            writer.flush()
    return writer


def pictures(path: Path) -> list[Picture]:
    """Decode a file of video."""
    container: Any = av.open(str(path))
    with container:
        return [np.asarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def numbers(path: Path) -> list[int]:
    """Say which of the camera's frames a file shows."""
    return [number_of(picture) for picture in pictures(path)]
