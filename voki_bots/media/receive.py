"""Takes encoded packets of all remote tracks from aiortc, before its jitter buffer and decoder.

The seam: an `Intake` is attached to a connection, told of each new remote description, and calls
`deliver` with each packet. It is the receiver to which aiortc's router gives every packet; where a faster
path is open (`voki_bots.media.datagrams`), audio comes by `take` instead, as bytes and without a task.
aiortc keeps RTCP, NACK and receiver reports.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtcpByePacket, RtcpSrPacket, RtpPacket, unwrap_rtx

from voki_bots.media import quirks
from voki_bots.media.reception import Reception
from voki_bots.media.rtp import DIGITS, Received, ReceivedVideo, SenderReport, extension_elements, received
from voki_bots.media.sdp import Codec, Section

__all__ = ["Intake", "Received", "SenderReport", "TrackStatistics"]

MAX_SOURCES = 1024
_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_EXTENSIONS = (_MID, _LEVEL, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time")
_NTP_UNIT = 2.0**-32
_HEADER = struct.Struct("!BBHII").unpack_from
_HEADER_SIZE = 12
_MAX_BLOCKS = 1024
_ROOM_SIZE = 2048
"""More than any datagram that is taken, so that a longer one is recognised as such."""


@dataclass(frozen=True, slots=True)
class TrackStatistics:
    """What came of one source so far.

    Attributes:
        mid: Its m-line.
        ssrc: Its source.
        kind: ``audio`` or ``video``.
        packets: Received, duplicates included.
        lost: Expected but not received, as our receiver reports say it.
        octets: Payload bytes.
        jitter: Seconds, as RFC 3550 section 6.4.1 estimates it.
    """

    mid: str
    ssrc: int
    kind: str
    packets: int
    lost: int
    octets: int
    jitter: float


class Room:
    """Memory in which a datagram is read and decrypted in place, and how long it may be; 0 takes none."""

    __slots__ = ("buffer", "cell", "length", "limit")

    def __init__(self, ffi: Any) -> None:
        self.cell = ffi.new("char[]", _ROOM_SIZE)
        self.length = ffi.new("int *")
        self.buffer = ffi.buffer(self.cell)
        self.limit = 0


@dataclass(slots=True)
class _Line:
    kind: str
    codecs: dict[int, Codec]
    repairs: dict[int, int]
    clock_rate: int
    events: dict[int, int]

    def rates(self) -> dict[int, int]:
        """Ticks per second of each payload type that is media."""
        return {n: codec.clock_rate for n, codec in self.codecs.items() if codec.name.lower() != "rtx"}

    def other(self, number: int, payload: bytes) -> tuple[str, int, bytes]:
        """Say what a packet is that is no media of this line: kind, ticks per second and payload.

        A type that nobody announced (comfort noise) counts in the sequence, and is no audio of ours.
        """
        if number in self.events:
            return DIGITS, self.events[number], payload
        return self.kind, self.clock_rate, b""


@dataclass(slots=True)
class _Source:
    mid: str
    kind: str
    receiver: RTCRtpReceiver
    statistics: Any
    octets: int = 0


@dataclass(slots=True)
class _Route:
    """Where the audio of a source goes, as the current description has it."""

    mid: str
    source: _Source
    count: Callable[[int, int, float], None]
    rates: dict[int, int]
    line: _Line
    pinned: bool


class Intake:
    """Assigns the packets of one connection to its m-lines and hands them on.

    Args:
        deliver: Takes each packet, on the event loop, also those with an empty payload: they count in the
            sequence.
        clock: Seconds of the event loop.
        on_report: Takes each sender report.
    """

    def __init__(
        self,
        deliver: Callable[[Received], None],
        clock: Callable[[], float],
        on_report: Callable[[SenderReport], None] | None = None,
    ) -> None:
        self.unrouted = 0
        self._deliver = deliver
        self._clock = clock
        self._on_report = on_report
        self._attached: set[int] = set()
        self._pc: RTCPeerConnection | None = None
        self._routers: list[Any] = []
        self._lines: dict[str, _Line] = {}
        self._signalled: dict[int, str] = {}
        self._learned: dict[int, str] = {}
        self._by_type: dict[int, list[str]] = {}
        self._sources: dict[int, _Source] = {}
        self._routes: dict[int, _Route] = {}
        self._aside: set[int] = set()
        self._askers: dict[RTCRtpReceiver, Callable[[int], Awaitable[None]]] = {}
        self._blocks: dict[bytes, tuple[str | None, int | None]] = {}
        self._numbers: dict[int, str] = {}

    def attach(self, pc: RTCPeerConnection) -> None:
        """Take over the packets of every transport and receiver of the connection; call it again at will."""
        self._pc = pc
        for transceiver in pc.getTransceivers():
            receiver, dtls = transceiver.receiver, transceiver.receiver.transport
            if id(receiver) not in self._attached:
                self._attached.add(id(receiver))
                quirks.leave_encoded(receiver)
            if id(dtls) not in self._attached:
                self._attached.add(id(dtls))
                self._take_over(dtls)

    def describe(self, sections: Sequence[Section]) -> None:
        """Read anew, after each remote description, which packets belong to which line."""
        # A line that sends nothing cannot be meant by a payload type alone, but its own sources may.
        self._lines = {
            s.mid: _Line(s.kind, s.codecs, s.repairs, 48_000 if s.kind == "audio" else 90_000, s.events)
            for s in sections
        }
        self._signalled = {ssrc: s.mid for s in sections for ssrc in s.sources}
        self._learned = {ssrc: mid for ssrc, mid in self._learned.items() if mid in self._lines}
        self._by_type = {}
        for section in sections:
            if section.direction in ("sendrecv", "sendonly"):
                for payload_type in (*section.codecs, *section.events):
                    self._by_type.setdefault(payload_type, []).append(section.mid)
        headers = [
            RTCRtpHeaderExtensionParameters(id=n, uri=uri)
            for s in sections
            for n, uri in s.extensions.items()
            if uri in _EXTENSIONS
        ]
        parameters = RTCRtpParameters(headerExtensions=headers)
        self._numbers = {header.id: header.uri for header in headers}
        self._blocks.clear()
        self._routes.clear()
        self._aside.clear()
        self._aside.update(
            n
            for s in sections
            for n, codec in s.codecs.items()
            if s.kind != "audio" or codec.name.lower() == "rtx"
        )
        for transceiver in self._pc.getTransceivers() if self._pc else ():
            quirks.read_extensions(transceiver.receiver.transport, parameters)

    def taker(
        self, room: Room, decrypt: Callable[[Any, Any, Any], int], state: Any, pulse: quirks.Pulse
    ) -> Callable[[int, float], bool]:
        """Make the function through which audio comes as bytes: synchronous, and the hot path.

        Args:
            room: Where datagrams are, and how long they may be.
            decrypt: Decrypts what is in the room's cell in place, and says how long it is then; 0 from it
                means that it was authentic (libsrtp's srtp_unprotect).
            state: Its first argument.
            pulse: Is told that the far end was heard, by what was authentic, and of what was hostile.

        Returns:
            A function of size and arrival, in seconds of the event loop's clock. False from it means that
            the datagram is not ours to take: RTCP, video, repair packets, and what nobody announced, are
            aiortc's.
        """
        buffer, cell, length = room.buffer, room.cell, room.length
        routes, blocks, aside = self._routes, self._blocks, self._aside
        deliver = self._deliver

        def take(size: int, arrival: float) -> bool:
            if not _HEADER_SIZE < size <= room.limit:
                return False
            first, second, sequence, timestamp, ssrc = _HEADER(buffer)
            number = second & 0x7F
            # RTP and SRTCP are told apart by the second byte (RFC 5761 section 4).
            if not 0x80 <= first <= 0xBF or 64 <= number < 96 or number in aside:
                return False
            route = routes.get(ssrc)
            if route is None and not self._announced(ssrc, number):
                return False
            length[0] = size
            if decrypt(state, cell, length):
                pulse.hostile += 1
                return True
            pulse.at = arrival
            start, end = _HEADER_SIZE + 4 * (first & 0x0F), length[0]
            plain = buffer[0:end]
            named = level = None
            if first & 0x10:
                stop = start + 4 + 4 * int.from_bytes(plain[start + 2 : start + 4], "big")
                block, start = plain[start:stop], stop
                known = blocks.get(block)
                named, level = known if known is not None else self._read(block)
            if first & 0x20:
                end -= plain[-1] or _ROOM_SIZE
            if start > end:
                pulse.hostile += 1
                return True
            if route is None or (named is not None and not route.pinned and named != route.mid):
                route = self._route(ssrc, number, named)
                if route is None:
                    self.unrouted += 1
                    return True
            rate = route.rates.get(number)
            route.source.octets += end - start
            route.count(sequence, timestamp, arrival)
            marker, kind, payload = second > 0x7F, "audio", plain[start:end]
            if rate is None:
                kind, rate, payload = route.line.other(number, payload)
            deliver(
                received(
                    (
                        route.mid,
                        ssrc,
                        kind,
                        number,
                        sequence,
                        timestamp,
                        marker,
                        payload,
                        level,
                        arrival,
                        rate,
                    )
                )
            )
            return True

        return take

    def asker(self, ssrc: int) -> Callable[[int], Awaitable[None]] | None:
        """Give what sends a request for a key frame of a source (RFC 4585 section 6.3.1), if there is any."""
        source = self._sources.get(ssrc)
        return self._askers.get(source.receiver) if source is not None else None

    def statistics(self) -> list[TrackStatistics]:
        """Give the numbers of every source."""
        found = []
        for ssrc, source in self._sources.items():
            stream, rate = (
                source.statistics,
                self._lines[source.mid].clock_rate if source.mid in self._lines else 1,
            )
            if stream is not None and stream.max_seq is not None:
                jitter = stream.jitter / rate
                numbers = (stream.packets_received, stream.packets_lost, source.octets, jitter)
                found.append(TrackStatistics(source.mid, ssrc, source.kind, *numbers))
        return found

    def _take_over(self, dtls: RTCDtlsTransport) -> None:
        router = quirks.router(dtls)
        if router is None:
            return
        self._routers.append(router)
        stock = router.route_rtcp

        def route_rtcp(packet: Any) -> Any:
            if isinstance(packet, RtcpSrPacket) and self._on_report is not None:
                sent = packet.sender_info
                ntp = sent.ntp_timestamp * _NTP_UNIT
                self._on_report(SenderReport(packet.ssrc, sent.rtp_timestamp, ntp, self._clock()))
            # A BYE would end aiortc's receiver for good, but lines and sources come back.
            return set() if isinstance(packet, RtcpByePacket) else stock(packet)

        router.route_rtp = lambda packet: self
        router.route_rtcp = route_rtcp

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        """Take one packet from aiortc; this is its RtpReceiver protocol."""
        arrival = self._clock()
        mid = self._mid_of(packet.ssrc, packet.payload_type, packet.extensions.mid)
        if mid is None:
            self.unrouted += 1
            return
        line = self._lines[mid]
        source = self._sources.get(packet.ssrc)
        if source is None or source.mid != mid:
            source = self._meet(packet.ssrc, mid, line)
            if source is None:
                self.unrouted += 1
                return
        source.octets += len(packet.payload)
        if line.kind == "video":
            # aiortc's own receiver does NACK, PLI and the reports here; its frames go nowhere.
            await source.receiver._handle_rtp_packet(packet, arrival_time_ms)
        elif source.statistics is not None:
            source.statistics.add(packet.sequence_number, packet.timestamp, arrival)
        codec = line.codecs.get(packet.payload_type)
        if codec is not None and codec.name.lower() == "rtx":
            original, apt = line.repairs.get(packet.ssrc), codec.apt
            if original is None or apt not in line.codecs or len(packet.payload) < 2:
                return
            packet = unwrap_rtx(packet, payload_type=apt, ssrc=original)
            codec = line.codecs[apt]
        level = packet.extensions.audio_level
        kind, rate, payload = line.kind, line.clock_rate, packet.payload
        if codec is not None:
            rate = codec.clock_rate
        else:
            kind, rate, payload = line.other(packet.payload_type, payload)
        came = (
            mid,
            packet.ssrc,
            kind,
            packet.payload_type,
            packet.sequence_number,
            packet.timestamp,
            bool(packet.marker),
            payload,
            None if level is None else -level[1],
            arrival,
            rate,
        )
        if line.kind == "video":
            picture = ReceivedVideo(*came)
            picture.codec = codec.name.lower() if codec is not None else ""
            self._deliver(picture)
        else:
            self._deliver(Received(*came))

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        """RTCP goes to aiortc's own receivers."""

    def _handle_disconnect(self) -> None:
        """The transport is gone; the Peer notices by its state."""

    def _announced(self, ssrc: int, number: int) -> bool:
        """Say whether a source that was not heard before is audio, by what was announced."""
        mid = self._signalled.get(ssrc) or self._learned.get(ssrc)
        line = self._lines.get(mid) if mid is not None else None
        return line.kind == "audio" if line is not None else number in self._by_type

    def _read(self, block: bytes) -> tuple[str | None, int | None]:
        """Read MID and level (in dBov) of a header extension; few different ones come, so each once."""
        mid = level = None
        for number, value in extension_elements(block):
            uri = self._numbers.get(number)
            if uri == _MID:
                mid = value.decode("ascii", "replace")
            elif uri == _LEVEL and value:
                level = -(value[0] & 0x7F)
        if len(self._blocks) >= _MAX_BLOCKS:
            self._blocks.clear()
        self._blocks[block] = mid, level
        return mid, level

    def _route(self, ssrc: int, number: int, named: str | None) -> _Route | None:
        """Find out where a source's audio goes."""
        mid = self._mid_of(ssrc, number, named)
        line = self._lines[mid] if mid is not None else None
        if mid is None or line is None or line.kind != "audio":
            return None
        source = self._sources.get(ssrc)
        if source is None or source.mid != mid:
            source = self._meet(ssrc, mid, line)
            if source is None:
                return None
        pinned = ssrc in self._signalled
        route = self._routes[ssrc] = _Route(mid, source, source.statistics.add, line.rates(), line, pinned)
        return route

    def _mid_of(self, ssrc: int, number: int, named: str | None) -> str | None:
        """Choose the line: an announced source first, then the MID extension, then what it was before.

        MID is no better than second: a forwarder that passes extensions on unchanged leaks the
        publisher's MID (RFC 8843 section 9.2 would have it first).
        """
        mid = self._signalled.get(ssrc)
        if mid is not None:
            return mid
        if named is not None and named in self._lines:
            mid = named
        elif ssrc in self._learned:
            return self._learned[ssrc]
        else:
            mids = self._by_type.get(number, ())
            mid = mids[0] if len(mids) == 1 else None
        if mid is not None and len(self._learned) < MAX_SOURCES:
            self._learned[ssrc] = mid
        return mid

    def _meet(self, ssrc: int, mid: str, line: _Line) -> _Source | None:
        """Find the receiver whose reports shall speak of a new source."""
        transceivers = self._pc.getTransceivers() if self._pc is not None else []
        receivers = [t.receiver for t in transceivers if t.mid == mid and t.kind == line.kind]
        if not receivers or len(self._sources) >= MAX_SOURCES:
            return None
        # A recycled line leaves a ghost with the same mid behind; the last one is alive.
        receiver = receivers[-1]
        statistics = None
        if line.kind == "video" and receiver not in self._askers and (ask := quirks.ask_ourselves(receiver)):
            self._askers[receiver] = ask
        if line.kind == "audio":
            table = quirks.stream_statistics(receiver)
            statistics = table.setdefault(ssrc, Reception(line.clock_rate))
        source = self._sources[ssrc] = _Source(mid, line.kind, receiver, statistics)
        for router in self._routers:
            router.ssrc_table[ssrc] = receiver
        return source
