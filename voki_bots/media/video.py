"""Pictures as they came: from RTP payloads to whole encoded frames, and when to ask for a key frame. Pure.

Nothing is decoded here. VP8 is read by RFC 7741 and RFC 6386, H.264 by RFC 6184.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from voki_bots.media import h264
from voki_bots.media.frames import VideoPacket

CODECS = ("vp8", "h264")
"""What is recorded, by the names that session descriptions give in small letters."""

RETRY_SECONDS = 0.5
"""Two requests for a key frame are never closer than this; each that is not answered doubles it."""

MAX_RETRY_SECONDS = 4.0

MAX_FRAME = 8 << 20
"""Bytes; what is larger is no frame of a call, and is given up."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One picture, encoded.

    Attributes:
        codec: One of `CODECS`.
        payload: A VP8 frame, or an H.264 access unit whose NAL units follow their lengths (4 bytes each).
        start: Seconds of call time.
        key: It can be decoded without any other.
        size: Width and height in pixels, of a key frame.
        setup: What a decoder must be told first: for H.264 its avcC record, of a key frame.
    """

    codec: str
    payload: bytes
    start: float
    key: bool
    size: tuple[int, int] | None = None
    setup: bytes = b""


def starts_key(codec: str, payload: bytes) -> bool:
    """Say whether a key frame begins with this RTP payload."""
    if codec == "h264":
        return any(
            h264.kind(unit) == h264.SPS or (h264.kind(unit) == h264.IDR and h264.is_first(unit))
            for unit in h264.peek(payload)
        )
    return codec == "vp8" and (read := vp8_payload(payload)) is not None and read[0] and _vp8_key(read[1])


class KeyRequests:
    """Decides when the far end is asked for a key frame of one track (RFC 4585 section 6.3.1).

    One is wanted at the beginning and after every hole; it is asked for until it comes.
    """

    __slots__ = ("_asked", "_next", "_tries", "wanted")

    def __init__(self) -> None:
        self.wanted = True
        self._next: int | None = None
        self._asked: float | None = None
        self._tries = 0

    def lost(self) -> None:
        """Something is missing: what follows cannot be decoded without a key frame."""
        self.wanted = True

    def take(self, packet: VideoPacket) -> None:
        """Take what is handed on, in order; a hole in its numbers is a loss, whatever its cause."""
        if packet.sequence != self._next and self._next is not None:
            self.wanted = True
        self._next = packet.sequence + 1
        if self.wanted and packet.payload and starts_key(packet.codec, packet.payload):
            self.wanted, self._tries = False, 0

    def due(self, now: float) -> bool:
        """Say whether to ask now, in seconds of any clock; it counts as asked then."""
        if not self.wanted:
            return False
        wait = min(RETRY_SECONDS * 2**self._tries, MAX_RETRY_SECONDS)
        if self._asked is not None and now - self._asked < wait:
            return False
        self._tries += self._asked is not None
        self._asked = now
        return True


class _Parts(Protocol):
    """Puts the payloads of one frame together; a new one for each frame."""

    def add(self, payload: bytes) -> bool:
        """Take the next payload; False from it means that the frame cannot be whole."""

    def frame(self, start: float) -> EncodedFrame | None:
        """Give the frame, if it is one."""


class FrameAssembler:
    """Puts the frames of one track together from its packets, which come in order.

    A frame with a hole is left out, and so is everything after it up to the next key frame: what refers to a
    picture that never came shows nothing true.

    Attributes:
        left_out: Frames that were begun, and are not given.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._sequence: int | None = None
        self._stamp: tuple[str, int] | None = None
        self._start = 0.0
        self._size = 0
        self._parts: _Parts | None = None
        self._whole = False
        self._chained = False
        self._sets = h264.ParameterSets()

    def push(self, packet: VideoPacket) -> list[EncodedFrame]:
        """Take a packet; give the frames that are whole now, two at most."""
        hole = self._sequence is not None and packet.sequence != self._sequence + 1
        self._sequence = packet.sequence
        out: list[EncodedFrame] = []
        if hole:
            self._chained = False
            self._drop()
        if not packet.payload:
            return out
        stamp = (packet.codec, packet.timestamp)
        if stamp != self._stamp:
            self._finish(out)  # its marker bit was not set
            self._stamp, self._start, self._size = stamp, packet.start, 0
            self._parts = H264Parts(self._sets) if packet.codec == "h264" else Vp8Parts()
            self._whole = True
        self._size += len(packet.payload)
        if self._parts is not None:
            self._whole = self._whole and self._size <= MAX_FRAME and self._parts.add(packet.payload)
        if packet.marker:
            self._finish(out)
        return out

    def _finish(self, out: list[EncodedFrame]) -> None:
        parts, self._parts = self._parts, None
        if parts is None:
            return
        frame = parts.frame(self._start) if self._whole else None
        self._chained = frame is not None and (frame.key or self._chained)
        if frame is None or not self._chained:
            self.left_out += 1
        else:
            out.append(frame)

    def _drop(self) -> None:
        if self._parts is not None:
            self.left_out += 1
            self._parts = None


class Vp8Parts:
    """A VP8 frame in the making."""

    def __init__(self) -> None:
        self._data: list[bytes] = []

    def add(self, payload: bytes) -> bool:
        """Take the next payload; the first must begin the frame."""
        read = vp8_payload(payload)
        if read is None or not (read[0] or self._data):
            return False
        self._data.append(read[1])
        return True

    def frame(self, start: float) -> EncodedFrame | None:
        """Give the frame; a key frame says its size (RFC 6386 section 9.1)."""
        data = b"".join(self._data)
        if not data:
            return None
        if not _vp8_key(data):
            return EncodedFrame("vp8", data, start, key=False)
        if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
            return None
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return EncodedFrame("vp8", data, start, key=True, size=(width, height))


class H264Parts:
    """An H.264 access unit in the making.

    Args:
        sets: The track's parameter sets, which frames before may have brought.
    """

    def __init__(self, sets: h264.ParameterSets) -> None:
        self._sets = sets
        self._units: list[bytes] = []
        self._open = False

    def add(self, payload: bytes) -> bool:
        """Take the next payload: one NAL unit, several, or a fragment of one."""
        found = h264.units(payload)
        if found is None:
            return False
        for unit, begins, ends in found:
            if begins == self._open:  # a fragment without its beginning, or a beginning without an end
                return False
            if begins:
                self._units.append(unit)
            else:
                self._units[-1] += unit
            self._open = not ends
        return True

    def frame(self, start: float) -> EncodedFrame | None:
        """Give the access unit; a key frame needs its parameter sets."""
        kinds = {h264.kind(unit) for unit in self._units}
        for unit in self._units:
            self._sets.take(unit)
        if self._open or not kinds & {h264.SLICE, h264.IDR}:
            return None
        data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in self._units)
        if h264.IDR not in kinds:
            return EncodedFrame("h264", data, start, key=False)
        if (size := self._sets.size) is None:
            return None
        return EncodedFrame("h264", data, start, key=True, size=size, setup=self._sets.record())


def vp8_payload(payload: bytes) -> tuple[bool, bytes] | None:
    """Take the payload descriptor off (RFC 7741 section 4.2).

    Returns:
        Whether a frame begins here, and what is left; None if it is cut short.
    """
    if not payload:
        return None
    first, at = payload[0], 1
    if first & 0x80:
        if len(payload) < 2:
            return None
        extended, at = payload[1], 2
        if extended & 0x80:
            at += 2 if payload[at : at + 1] >= b"\x80" else 1
        at += bool(extended & 0x40) + bool(extended & 0x30)
    if at >= len(payload):
        return None
    return first & 0x17 == 0x10, payload[at:]


def _vp8_key(data: bytes) -> bool:
    return data[0] & 1 == 0
