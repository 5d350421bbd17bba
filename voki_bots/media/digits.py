"""Keys that somebody presses, as their telephone tells it: telephone events (RFC 4733). Pure.

A press comes as several packets of one RTP timestamp: its length so far, again and again, and its end three
times. Some browsers send nothing but ends. Where the end is lost, the next press or a moment of silence ends
it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from voki_bots.media.rtp import TIMESTAMP_BITS, distance

KEYS = "0123456789*#ABCD"
"""By event code (RFC 4733 section 3.2)."""

OVER_SECONDS = 0.3
"""Without any word for so long, a press is over; while it lasts, updates come every 50 ms or oftener."""

LONGEST = 0xFFFF
"""Ticks that one event can last; a longer press goes on as the next one (RFC 4733 section 2.5.1.3)."""

EVENTS_TYPE = 126
"""The payload type in our first offer; aiortc numbers from 96 on."""

_END = 0x80


def offered(known: Mapping[int, int], taken: Collection[int]) -> dict[int, int]:
    """Choose payload types for an offer of ours, with their ticks per second.

    Within a bundle a number means one thing for ever (RFC 8843 section 9.2).

    Args:
        known: What the far end calls telephone events.
        taken: All its numbers.
    """
    return dict(known) or ({EVENTS_TYPE: 48_000} if EVENTS_TYPE not in taken else {})


def with_events(lines: list[str], events: Mapping[int, int]) -> list[str]:
    """Add telephone events to a section of audio (RFC 4733 section 7.1.1), by type and ticks per second."""
    if not lines[0].startswith("m=audio") or not events:
        return lines
    out = [" ".join([lines[0], *map(str, events)]), *lines[1:]]
    for number, rate in events.items():
        out += [f"a=rtpmap:{number} telephone-event/{rate}", f"a=fmtp:{number} 0-15"]
    return out


@dataclass(frozen=True, slots=True)
class Press:
    """A key that was pressed.

    Attributes:
        digit: One of `KEYS`.
        at: When, in seconds, as `Keypad.take` was told.
        duration: Seconds that it was held.
    """

    digit: str
    at: float
    duration: float


@dataclass(slots=True)
class _Held:
    code: int
    timestamp: int
    at: float
    rate: int
    heard: float
    ticks: int = 0
    before: int = 0

    def press(self) -> Press:
        return Press(KEYS[self.code], self.at, (self.before + self.ticks) / self.rate)


class Keypad:
    """Makes presses of the packets of one source."""

    def __init__(self) -> None:
        self._held: _Held | None = None
        self._last: int | None = None

    def take(self, payload: bytes, timestamp: int, rate: int, at: float, now: float) -> list[Press]:
        """Take a packet, in any order; give the presses that are over by it, each once.

        Args:
            payload: Event, end and volume, duration (RFC 4733 section 2.3).
            timestamp: RTP timestamp, 32 bits: when the press began.
            rate: Ticks per second.
            at: When that was, in seconds.
            now: When the packet came, in seconds.
        """
        if len(payload) < 4 or payload[0] >= len(KEYS):
            return []
        held, over = self._held, list[Press]()
        if held is not None and timestamp != held.timestamp:
            if distance(timestamp, held.timestamp, TIMESTAMP_BITS) < 0:
                return []
            if held.code == payload[0] and timestamp == (held.timestamp + LONGEST) & 0xFFFFFFFF:
                held.timestamp, held.before, held.ticks = timestamp, held.before + LONGEST, 0
            else:
                over, held = self._end(), None
        if held is None:
            if self._last is not None and distance(timestamp, self._last, TIMESTAMP_BITS) <= 0:
                return over
            held = self._held = _Held(payload[0], timestamp, at, rate, now)
        held.heard = now
        held.ticks = max(held.ticks, int.from_bytes(payload[2:4], "big"))
        return over + self._end() if payload[1] & _END else over

    def tick(self, now: float) -> list[Press]:
        """Give the press of which nothing was heard for `OVER_SECONDS`."""
        held = self._held
        return self._end() if held is not None and now - held.heard > OVER_SECONDS else []

    def forget(self, timestamp: int | None = None) -> None:
        """Never tell of what is held now, nor of the press that began at an RTP timestamp."""
        self._end()
        if timestamp is not None and (
            self._last is None or distance(timestamp, self._last, TIMESTAMP_BITS) > 0
        ):
            self._last = timestamp

    def _end(self) -> list[Press]:
        held, self._held = self._held, None
        if held is None:
            return []
        self._last = held.timestamp
        return [held.press()]
