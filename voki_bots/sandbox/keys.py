"""Keys of a telephone as packets: telephone events (RFC 4733). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import ConfigurationError
from ..units import FRAME_SAMPLES, SAMPLE_RATE

KEYS = "0123456789*#ABCD"
"""By event code (RFC 4733 section 3.2)."""

TYPE = 126
"""What the sandbox calls telephone events in its offers, and among its own."""

_VOLUME = 10
_END = 0x80
_ENDS = 3
_LONGEST = 1.0


def check(digits: str, seconds: float) -> None:
    """Say what is wrong with keys that somebody is told to press.

    Raises:
        ConfigurationError: If a key does not exist, or would be held for more than a second.
    """
    if not digits or any(digit not in KEYS for digit in digits):
        raise ConfigurationError(f"digits are some of {KEYS}", path="digits")
    if not 0 < seconds <= _LONGEST:
        raise ConfigurationError(f"seconds is a number up to {_LONGEST:g}", path="seconds")


def press(digit: str, seconds: float) -> Iterator[tuple[int, bytes]]:
    """Yield, every 20 ms, by how many ticks the press began before, and the payload (section 2.3).

    The end is said three times (section 2.5.1.4).
    """
    count = max(1, round(seconds * SAMPLE_RATE / FRAME_SAMPLES))
    for n in range(count - 1 + _ENDS):
        length = min(n + 1, count) * FRAME_SAMPLES
        flags = (_END if n + 1 >= count else 0) | _VOLUME
        yield n * FRAME_SAMPLES, bytes([KEYS.index(digit), flags]) + length.to_bytes(2, "big")


def event_type(sdp: str) -> int | None:
    """Find the payload type of telephone events at Opus' clock rate in a description, if it has one."""
    found = re.search(r"(?mi)^a=rtpmap:(\d{1,3}) telephone-event/48000\s*$", sdp)
    return int(found.group(1)) if found else None


def with_events(sdp: str, number: int | None) -> str:
    """Add telephone events to every line of audio that is in use."""
    if number is None:
        return sdp
    head, *sections = re.split(r"\r\n(?=m=)", sdp.rstrip("\r\n"))
    said = f"\r\na=rtpmap:{number} telephone-event/48000\r\na=fmtp:{number} 0-15"
    written = [
        re.sub(r"\A(m=audio [1-9][^\r]*)", rf"\1 {number}", section) + said
        if re.match(r"m=audio [1-9]", section)
        else section
        for section in sections
    ]
    return "\r\n".join([head, *written]) + "\r\n"
