"""One track's file while it is written: sound as Ogg/Opus, pictures as Matroska, both as they came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from voki_bots import EncodedFrame, FrameAssembler, MatroskaWriter, OggOpusWriter, Packet, VideoPacket
from voki_bots_recorder.clocks import CLOCK


class TrackFile(Protocol):
    """A file that takes a track's packets.

    Attributes:
        path: Its name in the call's folder.
        codec: What is in it.
        start: Seconds of call time at which it begins.
    """

    path: str
    codec: str
    start: float

    def write(self, packet: Packet) -> None:
        """Append a packet."""

    def flush(self) -> None:
        """Hand everything over to the system."""

    def close(self) -> None:
        """Make the file durable."""


class SoundFile:
    """Opus packets; the first one, which must be written too, says where the file begins."""

    codec = "opus"

    def __init__(self, directory: Path, path: str, first: Packet, recipients: Sequence[str] = ()) -> None:
        self.path = path
        self.start = first.start
        self._zero = _ticks(first)
        self._writer = OggOpusWriter(directory / path, recipients=recipients)
        self.flush, self.close = self._writer.flush, self._writer.close

    def write(self, packet: Packet) -> None:
        """Append a packet where it lies in the call."""
        self._writer.write(packet.payload, _ticks(packet) - self._zero, packet.duration)


class PictureFile:
    """Whole frames of one codec; what belongs to another is left out.

    Args:
        directory: The call's folder.
        path: Its name there.
        frames: Puts this track's frames together.
        ready: The frames that are whole by now; the first is a key frame.
        recipients: For whom it is encrypted.
    """

    def __init__(
        self,
        directory: Path,
        path: str,
        frames: FrameAssembler,
        ready: list[EncodedFrame],
        recipients: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.codec, self.start = ready[0].codec, ready[0].start
        self._frames = frames
        self._writer = MatroskaWriter(directory / path, ready[0], recipients=recipients)
        self.flush, self.close = self._writer.flush, self._writer.close
        self._append(ready)

    def write(self, packet: Packet) -> None:
        """Append the frames that a packet makes whole."""
        if isinstance(packet, VideoPacket):
            self._append(self._frames.push(packet))

    def _append(self, ready: list[EncodedFrame]) -> None:
        for frame in ready:
            if frame.codec == self.codec:
                self._writer.write(frame)


def _ticks(packet: Packet) -> int:
    """Where a packet lies in the call, in ticks; the timeline has already made good for odd timestamps."""
    return round(packet.start * CLOCK)
