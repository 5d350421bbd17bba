"""RTP packets and the arithmetic of their counters (RFC 3550). Pure."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000

DIGITS = "digits"
"""The kind of a telephone event (RFC 4733), which counts in the sequence of the audio that it interrupts."""

SEQUENCE_BITS = 16
TIMESTAMP_BITS = 32


class Received(NamedTuple):
    """One RTP packet as it arrived, already decrypted and assigned to an m-line.

    A tuple and not a dataclass: one is made for every packet, and the garbage collector may forget it.

    Attributes:
        mid: The m-line it belongs to (RFC 8843 section 9.2).
        ssrc: Its synchronisation source; of a retransmission, that of the original (RFC 4588).
        kind: ``audio``, ``video`` or `DIGITS`.
        payload_type: As negotiated for that m-line.
        sequence: Sequence number, 16 bits, as it came.
        timestamp: RTP timestamp, 32 bits, as it came.
        marker: The marker bit.
        payload: Without header and padding; empty for a padding-only packet.
        level: Audio level in dBov, 0 (loudest) to -127 (RFC 6464), or None.
        arrival: Seconds of the event loop's clock.
        clock_rate: RTP ticks per second of this payload type.
    """

    mid: str
    ssrc: int
    kind: str
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    level: int | None
    arrival: float
    clock_rate: int


class ReceivedVideo(Received):
    """A packet of video; how to read its payload depends on the `codec`, named in small letters."""

    codec: str = ""


received: Callable[[tuple[Any, ...]], Received] = functools.partial(tuple.__new__, Received)
"""Makes a `Received` of all its fields in a tuple; what `Received` does in the end, without the detour."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What an RTCP sender report says of a source's clock (RFC 3550 section 6.4.1).

    Attributes:
        ssrc: The source.
        timestamp: RTP timestamp, 32 bits, of the same instant as `ntp`.
        ntp: Seconds since 1900 by the sender's clock.
        arrival: Seconds of the event loop's clock.
    """

    ssrc: int
    timestamp: int
    ntp: float
    arrival: float


def extension_elements(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the identifiers and values of a header extension (RFC 8285 sections 4.2 and 4.3).

    Args:
        block: From its profile on, four bytes and the words that they announce. What is cut short, or of
            another profile, yields nothing.
    """
    profile, at = int.from_bytes(block[:2], "big"), 4
    wide = profile & 0xFFF0 == TWO_BYTE_PROFILE
    if not wide and profile != ONE_BYTE_PROFILE:
        return
    while at < len(block):
        first = block[at]
        number = first if wide else first >> 4
        if number == 0:
            at += 1
            continue
        if wide:
            if at + 1 >= len(block):
                return
            size, at = block[at + 1], at + 2
        elif number == 15:
            return
        else:
            size, at = (first & 15) + 1, at + 1
        if at + size > len(block):
            return
        yield number, block[at : at + size]
        at += size


def extension_block(elements: Mapping[int, bytes]) -> bytes:
    """Give a header extension in the one-byte form (RFC 8285 section 4.2), padded to whole words.

    Args:
        elements: Values of 1 to 16 bytes by identifiers from 1 to 14; what does not fit that is left out.

    Returns:
        What comes right after a fixed header; nothing if there is no element.
    """
    body = b"".join(
        bytes([number << 4 | len(value) - 1]) + value
        for number, value in elements.items()
        if 1 <= number <= 14 and 1 <= len(value) <= 16
    )
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", ONE_BYTE_PROFILE, len(body) // 4) + body if body else b""


def distance(newer: int, older: int, bits: int) -> int:
    """Say how far `newer` is ahead of `older` on a counter that wraps; negative if it is behind.

    The shorter way round is taken; exactly half the circle counts as behind (RFC 1982 leaves it open).
    """
    half = 1 << (bits - 1)
    return ((newer - older + half) & ((1 << bits) - 1)) - half


class Unwrapper:
    """Turns a counter that wraps into one that does not, by taking the shorter way from the last value.

    A step back is a step back, never a whole turn forward: one packet out of order must not move the
    stream by a day (RFC 3550 appendix A.1 extends sequence numbers in the same way).
    """

    __slots__ = ("_bits", "last")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self.last: int | None = None

    def unwrap(self, value: int) -> int:
        """Give the unwrapped value nearest to the last one; the first is given as it is."""
        if self.last is None:
            self.last = value
        else:
            self.last += distance(value, self.last & ((1 << self._bits) - 1), self._bits)
        return self.last
