"""Which line a packet belongs to, by the synchronous way in; without a network."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from voki_bots.media import sdp, shortcuts
from voki_bots.media.quirks import Pulse
from voki_bots.media.receive import Intake
from voki_bots.media.rtp import Received, extension_elements

SECTION = """m={kind} 9 UDP/TLS/RTP/SAVPF {number}\r
c=IN IP4 0.0.0.0\r
a=mid:{mid}\r
a=sendrecv\r
a=ice-ufrag:abcd\r
a=ice-pwd:abcdefghijklmnopqrstuvwx\r
a=fingerprint:sha-256 {fingerprint}\r
a=setup:actpass\r
a=rtcp-mux\r
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r
a=rtpmap:{number} {codec}\r
"""
HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n"


def section(mid: str, *, kind: str = "audio", number: int = 111, ssrc: int | None = None) -> str:
    codec = "opus/48000/2" if kind == "audio" else "VP8/90000"
    text = SECTION.format(kind=kind, number=number, mid=mid, codec=codec, fingerprint=":".join(["AB"] * 32))
    return text + (f"a=ssrc:{ssrc} cname:x\r\n" if ssrc else "")


class Far:
    """An Intake that was told of a description, and the packets that are put into it."""

    def __init__(self, *sections: str) -> None:
        self.got: list[Received] = []
        self.intake = Intake(self.got.append, lambda: 0.0)
        mids = " ".join(str(n) for n in range(len(sections)))
        described = sdp.acceptable_offer(sdp.parse(HEAD.format(mids=mids) + "".join(sections), "offer"))
        audio = [s for s in described.sections if s.kind == "audio"]
        self.intake._pc = Connection([s.mid for s in audio])  # type: ignore[assignment]
        self.intake.describe(described.sections)

        self.room, self.pulse = shortcuts.room(), Pulse(lambda: 0.0)
        self.room.limit = 1500
        self._take = self.intake.taker(self.room, lambda state, cell, length: 0, None, self.pulse)

    def put(self, data: bytes) -> bool:
        self.room.buffer[0 : len(data)] = data
        return self._take(len(data), 1.0)


class Connection:
    """As much of an RTCPeerConnection as an Intake asks for."""

    def __init__(self, mids: list[str]) -> None:
        self._lines = [Line(mid) for mid in mids]

    def getTransceivers(self) -> list[Any]:
        return self._lines


class Line:
    kind = "audio"

    def __init__(self, mid: str) -> None:
        self.mid = mid
        self.receiver = self
        self._RTCRtpReceiver__remote_streams: dict[int, Any] = {}
        self.transport = None


def rtp(
    ssrc: int,
    *,
    number: int = 111,
    mid: str | None = None,
    level: int | None = None,
    rest: bytes = b"\xf8abc",
) -> bytes:
    block = b""
    if mid is not None:
        block += bytes([1 << 4 | len(mid) - 1]) + mid.encode()
    if level is not None:
        block += bytes([2 << 4, 0x80 | level])
    block += bytes(-len(block) % 4)
    first = 0x90 if block else 0x80
    extension = struct.pack("!HH", 0xBEDE, len(block) // 4) + block if block else b""
    return struct.pack("!BBHII", first, number, 7, 960, ssrc) + extension + rest


def test_an_announced_source_outranks_a_leaked_mid() -> None:
    """A forwarder that passes extensions on unchanged leaks the publisher's MID."""
    far = Far(section("0", ssrc=5), section("1"))
    far.put(rtp(5, mid="1"))
    assert far.got[0].mid == "0"


def test_the_mid_decides_for_a_source_nobody_announced() -> None:
    """RFC 8843 section 9.2."""
    far = Far(section("0"), section("1"))
    far.put(rtp(9, mid="1"))
    assert far.got[0].mid == "1"


def test_a_source_stays_on_its_line_when_the_mid_is_no_longer_sent() -> None:
    """Senders stop repeating the MID after a while."""
    far = Far(section("0"), section("1"))
    far.put(rtp(9, mid="1"))
    far.put(rtp(9))
    assert [r.mid for r in far.got] == ["1", "1"]


def test_what_belongs_to_no_line_is_counted() -> None:
    """Two lines of one type and no MID: nobody can tell."""
    far = Far(section("0"), section("1"))
    assert (far.put(rtp(9)), far.intake.unrouted, far.got) == (True, 1, [])


def test_the_level_is_read() -> None:
    """In dBov, negative."""
    far = Far(section("0"))
    far.put(rtp(9, level=30))
    assert far.got[0].level == -30


def test_padding_is_cut_off() -> None:
    """The last byte says how much there is (RFC 3550 section 5.1)."""
    far = Far(section("0"))
    padded = bytearray(rtp(9, rest=b"\xf8abc\x00\x00\x03"))
    padded[0] |= 0x20
    far.put(bytes(padded))
    assert far.got[0].payload == b"\xf8abc"


def test_an_unknown_type_counts_in_the_sequence() -> None:
    """Comfort noise on a source that is known is delivered, empty."""
    far = Far(section("0", ssrc=9))
    far.put(rtp(9, number=110))
    assert far.got[0].payload == b""


@pytest.mark.parametrize("number", [72, 73, 96])
def test_rtcp_and_video_are_left_to_aiortc(number: int) -> None:
    """Sender and receiver reports (200, 201 with the marker bit off), and the type of a video line."""
    far = Far(section("0"), section("1", kind="video", number=96))
    assert far.put(rtp(9, number=number)) is False


@pytest.mark.parametrize(
    "data",
    [
        b"\x90\x6f" + bytes(11),  # announces an extension and has none
        b"\xb0\x6f" + bytes(10) + b"\xbe\xde\xff\xff",  # an extension longer than the packet
        b"\xa0\x6f" + bytes(10) + b"\xff",  # more padding than there is
        b"\x8f\x6f" + bytes(20),  # contributing sources that are not there
    ],
)
def test_malformed_packets_are_refused(data: bytes) -> None:
    """They are counted, nothing is delivered, and nothing raises."""
    far = Far(section("0"))
    assert (far.put(data), far.pulse.hostile, far.got) == (True, 1, [])


@pytest.mark.parametrize(
    ("block", "elements"),
    [
        (b"\xbe\xde\x00\x01\x10a\x20\x05", [(1, b"a"), (2, b"\x05")]),
        (b"\xbe\xde\x00\x01\x00\x10a\x00", [(1, b"a")]),
        (b"\x10\x00\x00\x02\x01\x01a\x02\x02bc\x00", [(1, b"a"), (2, b"bc")]),
        (b"\xbe\xde\x00\x01\x1fabc", []),
        (b"\x12\x34\x00\x01abcd", []),
        (b"", []),
    ],
)
def test_header_extensions_are_read_in_both_forms(block: bytes, elements: list[tuple[int, bytes]]) -> None:
    """RFC 8285, one byte and two, padding, and what is cut short."""
    assert list(extension_elements(block)) == elements
