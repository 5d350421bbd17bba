"""What is written on one sender: RTP packets as they are handed in, and sender reports.

Packets and reports are put together here, byte by byte, not by the library that the product uses too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..units import SAMPLE_RATE
from .connections import asks_for_key_frame
from .pictures import CLOCK_RATE
from .sdp import Stream
from .tasks import Tasks

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970 (RFC 5905)
_HEADER = struct.Struct("!BBHII")
_REPORT = struct.Struct("!BBHIQIII")
_MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"


def to_ntp(unix: float) -> int:
    """Convert unix seconds to a 64-bit NTP timestamp (RFC 3550 section 4)."""
    return int((unix + _NTP_EPOCH) * (1 << 32))


def rtp_packet(
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    *,
    marker: int = 0,
    extensions: bytes = b"",
) -> bytes:
    """Put an RTP packet together (RFC 3550 section 5.1), with one-byte header extensions (RFC 8285)."""
    first = 0x90 if extensions else 0x80
    second = (marker << 7) | payload_type
    packet = _HEADER.pack(first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    if extensions:
        words = -(-len(extensions) // 4)
        packet += struct.pack("!HH", 0xBEDE, words) + extensions.ljust(words * 4, b"\0")
    return packet + payload


def extension(number: int, value: bytes) -> bytes:
    """Put one header extension element together (RFC 8285 section 4.2)."""
    return bytes([(number << 4) | (len(value) - 1)]) + value


def sender_report(ssrc: int, ntp: int, timestamp: int, packets: int, octets: int) -> bytes:
    """Put a sender report and a source description together (RFC 3550 sections 6.4.1 and 6.5)."""
    report = _REPORT.pack(
        0x80, 200, 6, ssrc, ntp, timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    )
    source = struct.pack("!I", ssrc) + b"\x01\x01-\x00"  # a cname of one character, then the end
    return report + struct.pack("!BBH", 0x81, 202, len(source) // 4) + source


def _nobody() -> None:
    """Take a request that nobody answers."""


class OutgoingStream:
    """What is written on one sender: RTP as it is handed in, and sender reports about once a second.

    aiortc's own sending tasks are not started: they would number and time the packets by themselves.

    Args:
        sender: Whose transport is used.
        wall: Unix time in seconds.
        tasks: Where reports are sent from.
        choose: Randomness.
        codec: Name of the codec, in small letters.

    Attributes:
        mid: What the line is called towards the far end, if not as aiortc calls it.
        started: Set once DTLS is up and the line was negotiated.
        packets: RTP packets that were sent.
        reports_received: Receiver reports of the far end about this stream.
        on_key_request: Called when the far end asks for a key frame.
    """

    def __init__(
        self,
        sender: Any,
        *,
        wall: Callable[[], float],
        tasks: Tasks,
        choose: random.Random,
        codec: str = "opus",
    ) -> None:
        self.sender = sender
        self._mime = f"{'audio' if codec == 'opus' else 'video'}/{codec}"
        self._rate = SAMPLE_RATE if codec == "opus" else CLOCK_RATE
        self.on_key_request: Callable[[], None] = _nobody
        self.started = asyncio.Event()
        self.packets = 0
        self.mid: str | None = None
        self.reports_received = 0
        self._octets = 0
        self._payload_type: int | None = None
        self._mid_extension = b""
        self._level_number: int | None = None
        self._passed_on: tuple[int, int] | None = None
        self._last: tuple[float, int] | None = None  # when the last packet was sent, and its timestamp
        self._wall = wall
        self._tasks = tasks
        self._choose = choose
        self._reporting: asyncio.Task[Any] | None = None
        sender.send = self._start
        sender._handle_rtcp_packet = self._take_rtcp

    async def _start(self, parameters: Any) -> None:
        # aiortc calls this once the transport is connected, and again after each negotiation
        codec = next((c for c in parameters.codecs if c.mimeType.lower() == self._mime), None)
        if codec is None:
            return
        numbers = {e.uri: e.id for e in parameters.headerExtensions}
        if _MID_URI in numbers:
            self._mid_extension = extension(numbers[_MID_URI], (self.mid or str(parameters.muxId)).encode())
        self._level_number = numbers.get(_LEVEL_URI)
        self.sender.transport._register_rtp_sender(self.sender, parameters)
        self._payload_type = codec.payloadType
        self.started.set()
        if self._reporting is None:
            self._reporting = self._tasks.start(self._report(), "sender reports")

    def renew(self, ssrc: int, mid: str | None = None) -> None:
        """Be another source from the next negotiation on, on a line of another name if one is given."""
        self.close()
        self.sender._ssrc = ssrc
        self.mid = mid
        self.packets = self._octets = 0
        self._last = self._passed_on = None

    async def pad(self, sequence: int, timestamp: int, size: int = 200) -> bool:
        """Send a packet of nothing but padding (RFC 3550 section 5.1), as a bandwidth probe is."""
        if self._payload_type is None:
            return False
        ssrc = self.sender._ssrc
        packet = rtp_packet(
            self._payload_type, sequence, timestamp, ssrc, b"", extensions=self._mid_extension
        )
        padded = bytes([packet[0] | 0x20]) + packet[1:] + bytes(size - 1) + bytes([size])
        with contextlib.suppress(ConnectionError):
            await self.sender.transport._send_rtp(padded)
            return True
        return False

    async def write(
        self,
        sequence: int,
        timestamp: int,
        payload: bytes,
        *,
        marker: int = 0,
        level: tuple[bool, int] | None = None,
        anchor: tuple[int, int] | None = None,
        number: int | None = None,
    ) -> bool:
        """Send one packet; return False if it could not be sent now.

        Args:
            sequence: 16 bits (RFC 3550 section 5.1).
            timestamp: 32 bits, at 48 kHz for Opus (RFC 7587 section 4.1).
            payload: The encoded audio.
            marker: The marker bit.
            level: (voice, level in -dBov) for the audio-level extension, if it was negotiated.
            anchor: The publisher's own (NTP, RTP) mapping, to be passed on in sender reports.
            number: The payload type, if it is not audio.
        """
        if self._payload_type is None:
            return False
        extensions = self._mid_extension
        if level is not None and self._level_number is not None:
            extensions += extension(self._level_number, bytes([(level[0] << 7) | (level[1] & 0x7F)]))
        packet = rtp_packet(
            self._payload_type if number is None else number,
            sequence,
            timestamp,
            self.sender._ssrc,
            payload,
            marker=marker,
            extensions=extensions,
        )
        try:
            await self.sender.transport._send_rtp(packet)
        except ConnectionError:
            return False
        self._passed_on = anchor
        self._last = (self._wall(), timestamp)
        self.packets += 1
        self._octets += len(payload)
        return True

    def _mapping(self) -> tuple[int, int] | None:
        """Return which (NTP, RTP) instant to report: the publisher's own word for it, or ours for now."""
        if self._passed_on is not None:
            return self._passed_on
        if self._last is None:
            return None
        now = self._wall()
        return to_ntp(now), self._last[1] + round((now - self._last[0]) * self._rate)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(0.5 + self._choose.random())  # RFC 3550 section 6.2: half to one and a half
            mapping = self._mapping()
            if mapping is None:
                continue
            report = sender_report(self.sender._ssrc, *mapping, self.packets, self._octets)
            with contextlib.suppress(ConnectionError):
                await self.sender.transport._send_rtp(report)

    async def _take_rtcp(self, packet: Any) -> None:
        for report in getattr(packet, "reports", ()):
            if report.ssrc == self.sender._ssrc:
                self.reports_received += 1
        if asks_for_key_frame(packet, self.sender._ssrc):
            self.on_key_request()

    def close(self) -> None:
        """Stop reporting; the sender itself ends with its connection."""
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None
        if self._payload_type is not None:
            self.sender.transport._unregister_rtp_sender(self.sender)
            self._payload_type = None


class Publisher(Protocol):
    """Somebody whose audio can be forwarded, or whose picture."""

    @property
    def user_id(self) -> str:
        """Who it is."""
        ...

    @property
    def key(self) -> str:
        """What it is told by: somebody's audio and picture are two."""
        ...

    @property
    def codec(self) -> str:
        """What is forwarded."""
        ...

    def wants_key(self) -> None:
        """A listener asks for a key frame."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """Somebody's camera."""

    user_id: str
    codec: str
    ask: Callable[[], None]

    @property
    def key(self) -> str:
        """What it is told by."""
        return picture_key(self.user_id)

    def wants_key(self) -> None:
        """A listener asks for a key frame."""
        self.ask()


def picture_key(user_id: str) -> str:
    """What somebody's picture is told by."""
    return f"{user_id}/picture"


@dataclass(slots=True)
class Forward:
    """One publisher's audio or picture on one line of one listener."""

    source: Publisher
    transceiver: Any
    stream: OutgoingStream
    label: Stream
    offset: int | None = None
    last: int = 0
    ssrc: int | None = None

    async def pad(self, timestamp: int) -> bool:
        """Slip a padding-only packet in behind the last one; all that follow are numbered one higher."""
        self.offset = ((self.offset or 0) + 1) & 0xFFFF
        self.last = (self.last + 1) & 0xFFFF
        return await self.stream.pad(self.last, timestamp)

    async def write(
        self,
        packet: Any,
        anchor: tuple[int, int] | None,
        *,
        lost: bool,
        level: bool,
        number: int | None = None,
    ) -> bool:
        """Forward one packet, and say whether it was sent; `number` is its payload type if it is no audio.

        One that is `lost` uses up its sequence number all the same.
        """
        if self.offset is None or packet.ssrc != self.ssrc:
            # Whoever publishes anew numbers anew, and a listener's SRTP takes no step back (RFC 3711 3.3.1).
            self.ssrc = packet.ssrc
            self.offset = (self.last + 1 - packet.sequence_number) & 0xFFFF
        sequence = (packet.sequence_number + self.offset) & 0xFFFF
        if (sequence - self.last) & 0xFFFF < 0x8000:
            self.last = sequence
        if lost:
            return False
        return await self.stream.write(
            sequence,
            packet.timestamp,
            packet.payload,
            marker=packet.marker,
            level=packet.extensions.audio_level if level else None,
            anchor=anchor,
            number=number,
        )
