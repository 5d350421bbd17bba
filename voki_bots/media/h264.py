"""H.264 as far as a recorder must read it: payloads (RFC 6184), NAL units and parameter sets. Pure."""

from __future__ import annotations

from collections.abc import Iterator

SLICE, IDR, SPS, PPS = 1, 5, 7, 8
"""Types of NAL units (ITU-T H.264 table 7-1)."""

_STAP_A, _FU_A = 24, 28
_EXTENDED = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 138, 139, 134, 135, 244})
"""Profiles whose sequence parameter set says more (H.264 section 7.3.2.1.1)."""

_MAX_SIZE = 16_384


def kind(unit: bytes) -> int:
    """Give the type of a NAL unit; 0 of an empty one."""
    return unit[0] & 0x1F if unit else 0


def is_first(unit: bytes) -> bool:
    """Whether a slice is the first of its picture: ``first_mb_in_slice`` is 0, which is a single 1 bit."""
    return len(unit) > 1 and unit[1] >= 0x80


def units(payload: bytes) -> list[tuple[bytes, bool, bool]] | None:
    """Read an RTP payload (RFC 6184 section 5.2, packetization modes 0 and 1).

    Returns:
        (bytes, begins, ends) of each NAL unit or fragment; None if it is malformed or of another kind.
    """
    type_ = kind(payload)
    if 1 <= type_ <= 23:
        return [(payload, True, True)]
    if type_ == _STAP_A:
        whole = list(_aggregated(payload))
        return [(unit, True, True) for unit in whole] if whole and all(whole) else None
    if type_ == _FU_A and len(payload) > 2:
        begins, ends = bool(payload[1] & 0x80), bool(payload[1] & 0x40)
        header = bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) if begins else b""
        return [(header + payload[2:], begins, ends)]
    return None


def peek(payload: bytes) -> list[bytes]:
    """Give the NAL units that begin in a payload, as far as they are there."""
    return [unit for unit, begins, _ in units(payload) or () if begins]


def _aggregated(payload: bytes) -> Iterator[bytes]:
    """Take a STAP-A apart (RFC 6184 section 5.7.1); an empty unit stands for what is cut short."""
    at = 1
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        unit = payload[at + 2 : at + 2 + size]
        yield unit if len(unit) == size else b""
        at += 2 + size


class ParameterSets:
    """The latest sequence and picture parameter sets of a track.

    Attributes:
        size: Width and height that the sequence parameter set gives; None without one that can be read.
    """

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self._sequence = b""
        self._pictures: dict[int, bytes] = {}

    def take(self, unit: bytes) -> None:
        """Take a NAL unit; anything but a parameter set is passed over."""
        if kind(unit) == SPS and unit != self._sequence and (size := picture_size(unit)) is not None:
            self._sequence, self.size = unit, size
            self._pictures.clear()
        elif kind(unit) == PPS and len(unit) > 1:
            bits = _Bits(unit[1:])
            number = bits.golomb()
            if not bits.over and number < 256:
                self._pictures[number] = unit

    def record(self) -> bytes:
        """Lay out the avcC record (ISO/IEC 14496-15 section 5.3.3.1), with lengths of 4 bytes."""
        sequence, pictures = self._sequence, list(self._pictures.values())[:255]
        out = [b"\x01", sequence[1:4], b"\xff\xe1", len(sequence).to_bytes(2, "big"), sequence]
        out.append(bytes([len(pictures)]))
        for unit in pictures:
            out += [len(unit).to_bytes(2, "big"), unit]
        return b"".join(out)


class _Bits:
    """Reads a NAL unit's payload bit by bit; beyond its end there are zeros, and `over` says so."""

    def __init__(self, data: bytes) -> None:
        self._data = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._at = 0
        self.over = False

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte, bit = divmod(self._at, 8)
            self._at += 1
            if byte >= len(self._data):
                self.over = True
                return 0
            value = value << 1 | self._data[byte] >> (7 - bit) & 1
        return value

    def golomb(self) -> int:
        """Read an Exp-Golomb code (H.264 section 9.1)."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if self.over or zeros > 31:
                self.over = True
                return 0
        return (1 << zeros) - 1 + self.bits(zeros)


def picture_size(unit: bytes) -> tuple[int, int] | None:
    """Read width and height of a sequence parameter set (H.264 section 7.3.2.1.1); None if it is odd."""
    if len(unit) < 5 or kind(unit) != SPS:
        return None
    bits = _Bits(unit[1:])
    profile = bits.bits(8)
    bits.bits(16)
    bits.golomb()
    chroma = 1
    if profile in _EXTENDED:
        chroma = bits.golomb()
        bits.bits(1 if chroma == 3 else 0)
        bits.golomb()
        bits.golomb()
        bits.bits(1)
        if bits.bits(1):  # scaling lists: no sender of calls has them
            return None
    bits.golomb()
    _skip_order_count(bits)
    bits.golomb()
    bits.bits(1)
    columns, rows = bits.golomb() + 1, bits.golomb() + 1
    frames_only = bits.bits(1)
    if not frames_only:
        bits.bits(1)
    bits.bits(1)
    left, right, top, bottom = (bits.golomb() for _ in range(4)) if bits.bits(1) else (0, 0, 0, 0)
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1) * (2 - frames_only)
    width = columns * 16 - (left + right) * across
    height = rows * 16 * (2 - frames_only) - (top + bottom) * down
    sensible = 0 < width <= _MAX_SIZE and 0 < height <= _MAX_SIZE
    return (width, height) if sensible and not bits.over else None


def _skip_order_count(bits: _Bits) -> None:
    kind_ = bits.golomb()
    if kind_ == 0:
        bits.golomb()
    elif kind_ == 1:
        bits.bits(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
