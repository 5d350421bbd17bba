"""Opus packets out of and into Ogg (RFC 3533, RFC 7845). Pure, and only as much as the sandbox needs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from ..units import FRAME_SAMPLES, SAMPLE_RATE

_PAGE = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 0x02, 0x04


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_CRC = _crc_table()


def _checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CRC[(value >> 24) ^ byte]
    return value


def read_packets(container: bytes) -> list[bytes]:
    """Return the Opus packets of an Ogg file in order, without its two header packets.

    Raises:
        ValueError: The bytes are no Ogg/Opus.
    """
    packets = list(_packets(container))
    if len(packets) < 2 or not packets[0].startswith(b"OpusHead"):
        raise ValueError("not an Ogg/Opus file")
    return packets[2:]


def _packets(container: bytes) -> Iterator[bytes]:
    position, part = 0, b""
    while position + _PAGE.size <= len(container):
        magic, _, _, _, _, _, _, count = _PAGE.unpack_from(container, position)
        if magic != b"OggS":
            raise ValueError("not an Ogg file")
        lengths = container[position + _PAGE.size : position + _PAGE.size + count]
        position += _PAGE.size + count
        for length in lengths:
            part += container[position : position + length]
            position += length
            if length < 255:  # RFC 3533 section 5: a shorter segment ends the packet
                yield part
                part = b""


def write_packets(packets: Sequence[tuple[int, bytes]], *, serial: int = 1) -> bytes:
    """Put packets of 20 ms into an Ogg file, one to a page, each at its own place.

    Args:
        packets: (RTP timestamp relative to the first packet, in samples at 48 kHz; Opus payload).
        serial: The stream's serial number.

    Returns:
        The whole file. The pre-skip is 0, so the first sample decoded is the first sample sent.
    """
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, SAMPLE_RATE, 0, 0)
    vendor = b"voki-bots sandbox"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    pages: list[tuple[int, int, bytes]] = [(_FIRST, 0, head), (0, 0, tags)]
    last = len(packets) - 1
    for index, (timestamp, payload) in enumerate(packets):
        pages.append((_LAST if index == last else 0, timestamp + FRAME_SAMPLES, payload))
    return b"".join(_pages(pages, serial))


def _pages(pages: Iterable[tuple[int, int, bytes]], serial: int) -> Iterator[bytes]:
    for number, (kind, granule, packet) in enumerate(pages):
        lengths = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        body = lengths + packet
        blank = _PAGE.pack(b"OggS", 0, kind, granule, serial, number, 0, len(lengths)) + body
        crc = _checksum(blank)
        yield _PAGE.pack(b"OggS", 0, kind, granule, serial, number, crc, len(lengths)) + body
