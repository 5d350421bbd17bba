"""Files of video: Matroska (RFC 9559) with encoded frames as they came.

Laid out here and not by a muxer library, for the same reason as Ogg: a cluster must end where *we* flush, so
that a kill -9 loses at most what came after the last `flush`. Every cluster is written whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voki_bots.media.containers import VENDOR
from voki_bots.media.encrypted import new_file
from voki_bots.media.video import EncodedFrame

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_NAMES = {"vp8": "V_VP8", "h264": "V_MPEG4/ISO/AVC"}

MAX_CLUSTER_SECONDS = 5.0
"""A block says its time in 16 bits of milliseconds from its cluster's."""

MAX_CLUSTER = 1 << 20
"""Bytes that wait for a flush at most."""


def _size(length: int) -> bytes:
    """Write the size of an element (RFC 8794 section 4), in eight bytes if one is not enough."""
    return bytes([0x80 | length]) if length < 0x7F else (1 << 56 | length).to_bytes(8, "big")


def _element(name: int, content: bytes) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + _size(len(content)) + content


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


class MatroskaWriter:
    """Writes the frames of one track into a new file.

    Args:
        path: Must not exist.
        first: The key frame with which it begins; it must be written too.
        recipients: Public keys of age; with any, only who has a key of theirs can read the file.

    Attributes:
        zero: Seconds of call time at which the file's own time begins: the first frame's.

    Raises:
        FileWriteError: From every method, if the disk does not take it.
    """

    def __init__(self, path: Path, first: EncodedFrame, *, recipients: Sequence[str] = ()) -> None:
        self.path = path
        self.frames = 0
        self.zero = first.start
        self.codec = first.codec
        self._blocks: list[bytes] = []
        self._bytes = 0
        self._at = 0
        self._last = 0
        self._file = new_file(path, recipients)
        self._file.write(_head(first))

    def write(self, frame: EncodedFrame) -> None:
        """Append a frame; one that starts before the last counts as starting with it."""
        at = max(round((frame.start - self.zero) * 1000), self._last)
        if self._blocks and (at - self._at > MAX_CLUSTER_SECONDS * 1000 or self._bytes > MAX_CLUSTER):
            self.flush()
        if not self._blocks:
            self._at = at
        self._last = at
        block = struct.pack(">BhB", 0x81, at - self._at, 0x80 if frame.key else 0) + frame.payload
        self._blocks.append(_element(0xA3, block))
        self._bytes += len(block)
        self.frames += 1

    def flush(self) -> None:
        """End the cluster here: a kill after this loses nothing that was written before."""
        if self._blocks:
            blocks, self._blocks, self._bytes = b"".join(self._blocks), [], 0
            self._file.write(_element(_CLUSTER, _number(0xE7, self._at) + blocks))

    def close(self) -> None:
        """Write the last cluster and make the file durable; closing twice is fine."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()


def _head(first: EncodedFrame) -> bytes:
    """Lay out everything before the first cluster; the segment's size stays unknown (RFC 9559 section 23)."""
    width, height = first.size or (0, 0)
    numbers = ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8), (0x4287, 4), (0x4285, 2))
    ebml = b"".join(_number(*each) for each in numbers) + _element(0x4282, b"matroska")
    video = _number(0xB0, width) + _number(0xBA, height)
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _number(0x9C, 0)
    track += _element(0x86, _NAMES[first.codec].encode()) + _element(0xE0, video)
    if first.setup:
        track += _element(0x63A2, first.setup)
    described = _number(0x2AD7B1, 1_000_000) + _element(0x4D80, VENDOR) + _element(0x5741, VENDOR)
    segment = _SEGMENT.to_bytes(4, "big") + _UNKNOWN_SIZE
    tracks = _element(_TRACKS, _element(0xAE, track))
    return b"".join([_element(_EBML, ebml), segment, _element(_INFO, described), tracks])


def frame_times(path: Path) -> Iterator[tuple[float, bool]]:
    """Read when the frames of a file begin, also of one that a kill left without an end.

    Yields:
        Seconds from the file's own zero, and whether it is a key frame.

    Raises:
        ValueError: If it is no file of video. OSError if it cannot be read.
    """
    import av

    with path.open("rb") as file:
        try:
            container: Any = av.open(file, "r")
        except av.error.InvalidDataError as error:
            raise ValueError(f"{path} is no file of video") from error
        with container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video")
            for packet in container.demux(video=0):
                if packet.pts is not None and packet.size:
                    yield float(packet.pts * packet.time_base), bool(packet.is_keyframe)
