"""The eighteen traps of aiortc 1.16, row by row: what stock aiortc does, and what we make of it.

Each test has a stock control in it: first aiortc by itself falls into the trap, then ours does not. `ROWS`
says what each row is about; a row without a test fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from typing import Any

import aiortc.rtp
import av
import numpy as np
import pytest
from aiortc import RTCIceServer, RTCSessionDescription
from aiortc.codecs import get_decoder
from aiortc.codecs.opus import OpusDecoder
from aiortc.exceptions import OperationError
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCCertificate, generate_certificate
from aiortc.rtcicetransport import connection_kwargs
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import TimestampMapper
from aiortc.rtp import RtpPacket
from aiortc.sdp import candidate_from_sdp
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.media.conftest import FarEnd
from voki_bots.errors import IceError, NegotiationError
from voki_bots.media.ice import IceServer
from voki_bots.media.opus import Encoder
from voki_bots.media.peer import Peer
from voki_bots.media.prompts import Mixer, Prompt
from voki_bots.media.reorder import Reorder
from voki_bots.media.rtp import TIMESTAMP_BITS, Received, Unwrapper
from voki_bots.signalling.rest import TurnCredentials
from voki_bots.signalling.turn import relay

ROWS = {
    1: "an RSA certificate is refused",
    2: "a padding packet deafens the decoder",
    3: "MID is never used for routing",
    4: "the jitter buffer grows for ever after one loss",
    5: "a timestamp that steps back counts as a wrap",
    6: "a rejected m-line without credentials raises",
    7: "an m-line with VP9 alone refuses the whole offer",
    8: "an empty or oversized datagram closes the call",
    9: "telephone-event kills the decoder thread",
    10: "ICE never fails",
    11: "early candidates are dropped",
    12: "only the first TURN url is used, and its failure is silent",
    13: "an ICE restart is ignored",
    14: "a dead far end is a zombie, and closing takes a minute",
    15: "a sender dies with its track",
    16: "an unread track grows without limit",
    17: "a decoder thread for each stream starves the loop",
    18: "the send path computes levels and encodes for each call",
}
CLOCK = time.monotonic
FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:{FINGERPRINT}\r\na=setup:actpass\r\n"


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: int) -> None:
    """No trap without a test."""
    assert [name for name in globals() if name.startswith(f"test_row_{row:02}_")]


@pytest.fixture
async def stock() -> Any:
    """Stock aiortc, where our Peer would be."""
    end = FarEnd()
    yield end
    await end.pc.close()
    # What was still connecting notices at its next turn, 20 ms later at most.
    await asyncio.sleep(0.05)


def peer(heard: list[Received], **options: Any) -> Peer:
    return Peer(0, loopback=True, on_packet=heard.append, clock=CLOCK, **options)


async def joined(ours: Peer, far: FarEnd, offer: str | None = None) -> None:
    await far.accept(await ours.answer(offer or await far.offer()))
    await ours.connected(5)


async def connected(end: FarEnd, seconds: float) -> bool:
    """Whether a stock end comes up in this time."""
    deadline = CLOCK() + seconds
    while end.pc.connectionState != "connected" and CLOCK() < deadline:
        await asyncio.sleep(0.02)
    return bool(end.pc.connectionState == "connected")


async def stock_joined(stock: FarEnd, far: FarEnd, offer: str | None = None) -> None:
    await far.accept(await stock.answer(offer or await far.offer()))
    assert await connected(stock, 5)


def streams(end: FarEnd) -> dict[int, Any]:
    """What reached the receivers of a stock end, by source."""
    return {k: v for r in end.pc.getReceivers() for k, v in r._RTCRtpReceiver__remote_streams.items()}  # type: ignore[attr-defined]


def with_rsa(far: FarEnd) -> None:
    key: Any = rsa.generate_private_key(65_537, 2048)
    certificate: Any = RTCCertificate(key, generate_certificate(key))
    original = certificate._create_ssl_context

    def create(srtp_profiles: Any) -> Any:
        context = original(srtp_profiles=srtp_profiles)
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
        return context

    certificate._create_ssl_context = create
    far.pc._RTCPeerConnection__certificates[:] = [certificate]  # type: ignore[attr-defined]


def received(sequence: int, timestamp: int, payload: bytes = b"\xf8", arrival: float = 0.0) -> Received:
    return Received("0", 1, "audio", 111, sequence, timestamp, False, payload, None, arrival, 48_000)


async def test_row_01_rsa_certificate(far: Any, stock: Any) -> None:
    """An Elixir SFU has an RSA certificate: stock never connects, we do."""
    with_rsa(far)
    far.speak()
    await far.accept(await stock.answer(await far.offer()))
    assert not await connected(stock, 1.0)
    again = FarEnd()
    with_rsa(again)
    again.speak()
    async with peer([]) as ours:
        await joined(ours, again)
    await again.pc.close()


def test_row_02_padding_packet() -> None:
    """After an empty payload stock decodes nothing; ours goes on, for none reaches the decoder."""
    encoder = Encoder(bitrate=32_000)
    speech = [encoder.encode(np.full(960, 3000, dtype=np.int16)) for _ in range(20)]
    decoder, decoded = OpusDecoder(), 0
    for n, payload in enumerate([speech[0], b"", *speech[1:]]):
        with contextlib.suppress(av.FFmpegError):
            decoded += len(decoder.decode(JitterFrame(payload, n * 960)))
    assert decoded < 20
    assert heard_seconds([(n, payload) for n, payload in enumerate([speech[0], b"", *speech[1:]])]) == 0.4


def heard_seconds(numbered: list[tuple[int, bytes]]) -> float:
    """Decoded seconds of packets through order, timeline and decoder; an empty one is padding."""
    from tests.media.hearing import hear

    packets, at = [], 0
    for sequence, payload in numbered:
        packets.append(received(sequence, max(at - 960, 0) if not payload else at, payload, at / 48_000))
        at += 960 if payload else 0
    return round(sum(f.seconds for f in hear(packets)), 3)


async def test_row_03_mid_routing(far: Any, stock: Any, until: Any) -> None:
    """Two lines without a=ssrc: stock hears nobody, we hear both."""
    one, two = far.speak(1), far.speak(2)
    bare = re.sub(r"a=ssrc[^\r]*\r\n", "", await far.offer())
    await stock_joined(stock, far, bare)
    await until(lambda: min(len(one.sent), len(two.sent)) > 25)
    assert streams(stock) == {}
    again, heard = FarEnd(), list[Received]()
    again.speak(1), again.speak(2)
    async with peer(heard) as ours:
        await joined(ours, again, re.sub(r"a=ssrc[^\r]*\r\n", "", await again.offer()))
        await until(lambda: {"0", "1"} == {r.mid for r in heard})
    await again.pc.close()


def test_row_04_jitter_buffer() -> None:
    """One lost packet holds back fifteen for ever in stock; ours waits once and then delays nothing."""
    buffer, order = JitterBuffer(16, prefetch=4), Reorder(patience=0.15)
    behind_stock, behind_ours, out = 0, 0, 0
    for n in range(200):
        if n == 50:
            continue
        packet = RtpPacket(payload_type=111, sequence_number=n, timestamp=n * 960)
        packet._data = b"x"  # type: ignore[attr-defined]
        _, frame = buffer.add(packet)
        behind_stock = n - frame.timestamp // 960 if frame else 16
        ready = [*order.tick(n * 0.02), *order.push(received(n, n * 960, arrival=n * 0.02))]
        out += len(ready)
        behind_ours = n - ready[-1].sequence if ready else n
    assert (behind_stock >= 14, behind_ours, out) == (True, 0, 199)


def test_row_05_backward_timestamp() -> None:
    """A step of 20 ms back moves stock by a day, and ours by 20 ms."""
    mapper, ours = TimestampMapper(), Unwrapper(TIMESTAMP_BITS)
    steps = [9600, 10_560, 9600]
    assert [mapper.map(t) for t in steps][-1] > 2**31
    assert [ours.unwrap(t) for t in steps] == steps


async def test_row_06_rejected_line(far: Any, stock: Any) -> None:
    """A line of somebody who left (port 0 and no credentials) raises in stock; we reject it back."""
    far.speak()
    offer = await far.offer() + "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:gone\r\na=rtpmap:0 PCMU/8000\r\n"
    with pytest.raises(ValueError, match="ICE username"):
        await stock.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    async with peer([]) as ours:
        answer = await ours.answer(offer)
    assert re.findall(r"m=audio (\d+)", answer)[1] == "0"
    assert re.findall(r"a=group:BUNDLE(.*)\r", answer) == [" 0"]


async def test_row_07_vp9_only(far: Any, stock: Any) -> None:
    """One line with codecs we lack refuses the whole offer in stock; with us only that line."""
    far.speak()
    offer = await far.offer() + (
        "m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:v\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:98 VP9/90000\r\n"
    )
    with pytest.raises((OperationError, ValueError)):
        await stock.pc.setRemoteDescription(RTCSessionDescription(offer + TRANSPORT, "offer"))
    async with peer([]) as ours:
        answer = await ours.answer(offer)
    assert [(kind, port != "0") for kind, port in re.findall(r"m=(\w+) (\d+)", answer)] == [
        ("audio", True),
        ("video", False),
    ]


@pytest.mark.parametrize("hostile", [b"", b"\x80" + bytes(1701)], ids=["empty", "oversized"])
async def test_row_08_hostile_datagram(far: Any, stock: Any, until: Any, hostile: bytes) -> None:
    """One datagram of a stranger closes stock at once; we count it and stay."""
    far.speak()
    await stock_joined(stock, far)
    shoot(far, hostile)
    await until(lambda: stock.pc.connectionState == "closed")
    again, heard = FarEnd(), list[Received]()
    again.speak()
    async with peer(heard) as ours:
        await joined(ours, again)
        shoot(again, hostile)
        await until(lambda: ours.hostile >= 1)
        count = len(heard)
        await until(lambda: len(heard) > count + 5)
        assert ours.state == "connected"
    await again.pc.close()


def shoot(far: FarEnd, data: bytes) -> None:
    pair = next(iter(far.transport.transport._connection._nominated.values()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(data, pair.remote_addr)


async def test_row_09_telephone_event(far: Any, until: Any) -> None:
    """Stock's decoder thread dies of a digit; ours takes it for one, and loses nothing around it."""
    with pytest.raises(ValueError, match="telephone-event"):
        get_decoder(RTCRtpCodecParameters("audio/telephone-event", clockRate=48_000, payloadType=110))
    heard = list[Received]()
    far.speak()
    offer = (await far.offer()).replace("a=rtpmap:96 ", "a=rtpmap:110 telephone-event/48000\r\na=rtpmap:96 ")
    async with peer(heard) as ours:
        await joined(ours, far, re.sub(r"(m=audio \d+ \S+)", r"\1 110", offer))
        await until(lambda: len(heard) > 5)
        digit = RtpPacket(
            payload_type=110, sequence_number=(heard[-1].sequence + 40) & 0xFFFF, timestamp=5, marker=1
        )
        digit.ssrc, digit.payload = far.pc.getSenders()[0]._ssrc, b"\x05\x8a\x03\xc0"
        await far.transport._send_rtp(digit.serialize(far.transport._rtp_header_extensions_map))
        await until(lambda: [r for r in heard if r.payload_type == 110])
        count = len(heard)
        await until(lambda: len(heard) > count + 5)
    assert [(r.kind, r.payload) for r in heard if r.payload_type == 110] == [("digits", b"\x05\x8a\x03\xc0")]


async def test_row_10_ice_never_fails(stock: Any) -> None:
    """Nobody at the other end: stock keeps connecting, we say so in our own time."""
    offer = (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"
        "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 opus/48000/2\r\n"
    )
    await stock.answer(offer + TRANSPORT)
    async with peer([]) as ours:
        await ours.answer(offer + TRANSPORT)
        with pytest.raises(IceError, match="within"):
            await ours.connected(0.5)
    assert stock.pc.connectionState in ("new", "connecting")


async def test_row_11_early_candidates(far: Any, stock: Any) -> None:
    """A candidate that overtakes the offer is lost in stock; we keep it and connect by it."""
    far.speak()
    offer = await far.offer()
    found = re.findall(r"a=(candidate:[^\r]*)", offer)
    bare = re.sub(r"a=(candidate:|end-of-candidates)[^\r]*\r\n", "", offer)
    early = candidate_from_sdp(found[0].removeprefix("candidate:"))
    early.sdpMid = "0"
    await stock.pc.addIceCandidate(early)
    await stock.answer(bare)
    assert stock.transport.transport._connection.remote_candidates == []
    async with peer([]) as ours:
        await ours.add_candidate(found[0], "0", 0)
        await joined(ours, far, bare)


async def test_row_12_turn_urls() -> None:
    """Stock takes the first url and is silent when it fails; we tell, and the next Peer takes the next."""
    urls = ("turn:127.0.0.1:9?transport=tcp", "turn:127.0.0.1:10?transport=udp", "stun:127.0.0.1:3478")
    kwargs = connection_kwargs([RTCIceServer(list(urls), "u", "c")])
    assert (kwargs["turn_server"], kwargs["turn_transport"]) == (("127.0.0.1", 9), "tcp")
    given = TurnCredentials(urls, "u", "c", None, None)
    # UDP goes first whatever the order of the list, then the others in turn.
    turns = [relay(given, ["127.0.0.1"], attempt).turn for attempt in range(3)]
    assert turns == [urls[1], urls[0], urls[1]]
    async with peer([], ice_servers=[IceServer((urls[0],), "u", "c")], relay_only=True) as ours:
        with pytest.raises(IceError, match="only TURN may be used"):
            await ours.offer()


async def test_row_13_ice_restart(far: Any, stock: Any) -> None:
    """Stock answers a restart with its old credentials; we say that only a new Peer can follow."""
    far.speak()
    first = await stock.answer(await far.offer())
    await far.accept(first)
    restart = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:restarted", await far.offer())
    second = await stock.answer(restart)
    ufrags = [set(re.findall(r"a=ice-ufrag:(\S+)", text)) for text in (first, second)]
    assert ufrags[0] == ufrags[1]
    again = FarEnd()
    again.speak()
    async with peer([]) as ours:
        await joined(ours, again)
        with pytest.raises(NegotiationError) as caught:
            await ours.answer(re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:restarted", await again.offer()))
    assert caught.value.step == "ice-restart"
    await again.pc.close()


def mute(far: FarEnd) -> None:
    for protocol in far.transport.transport._connection._protocols:
        protocol.transport.sendto = lambda *args: None


async def test_row_14_zombie(far: Any, stock: Any) -> None:
    """A far end that vanished is "connected" in stock long after we have noticed; closing is bounded."""
    far.speak()
    await stock_joined(stock, far)
    mute(far)
    again = FarEnd()
    again.speak()
    async with peer([], patience=2.0) as ours:
        await joined(ours, again)
        mute(again)
        assert "silent" in await asyncio.wait_for(ours.failed(), 4)
        assert stock.pc.connectionState == "connected"
    await again.pc.close()


async def test_row_14_close_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a dead TURN server stock's close takes a minute; ours gives up waiting."""
    monkeypatch.setattr("voki_bots.media.peer.CLOSE_SECONDS", 0.2)
    ours = peer([])
    await ours.__aenter__()
    stock_close, let_go = ours._pc.close, asyncio.Event()

    async def slow() -> None:
        await let_go.wait()
        await stock_close()

    ours._pc.close = slow  # type: ignore[method-assign]
    began = CLOCK()
    await ours.close()
    let_go.set()
    await asyncio.sleep(0.05)
    assert CLOCK() - began < 2.0


class Short(MediaStreamTrack):
    """A prompt as one would write it for stock aiortc: it ends."""

    kind = "audio"

    async def recv(self) -> Any:
        raise aiortc.mediastreams.MediaStreamError


async def test_row_15_sender_outlives_what_it_says(far: Any, stock: Any, until: Any) -> None:
    """Stock's sender is gone with its first prompt; ours says the next one too."""
    heard = list[Received]()
    sender = stock.pc.addTransceiver(Short(), "sendrecv").sender
    await stock.accept(await far.answer(await stock.offer()))
    await until(lambda: sender.track is None)
    async with heard_by(heard) as (ours, voice):
        await voice.say(Prompt.from_pcm(np.full(4800, 900, dtype=np.int16)))
        await asyncio.sleep(0.1)
        await voice.say(Prompt.from_pcm(np.full(4800, 900, dtype=np.int16)))
        assert ours.state == "connected"
    assert voice.sent >= 10


def heard_by(heard: list[Received]) -> Any:
    from tests.media.hearing import speaking

    return speaking(heard)


async def test_row_16_unread_track(far: Any, stock: Any, until: Any) -> None:
    """What nobody reads piles up in stock; with us nothing is queued."""
    speaker = far.speak()
    await stock_joined(stock, far)
    await until(lambda: len(speaker.sent) > 40)
    assert stock.pc.getReceivers()[0].track._queue.qsize() > 10
    again, heard = FarEnd(), list[Received]()
    again.speak()
    async with peer(heard) as ours:
        await joined(ours, again)
        await until(lambda: len(heard) > 40)
        assert [r.track._queue.qsize() for r in ours._pc.getReceivers()] in ([0], [1])
    await again.pc.close()


async def test_row_17_threads(far: Any, stock: Any, until: Any) -> None:
    """Stock decodes every stream in a thread of its own; we start none, and decode nothing."""

    def decoders() -> int:
        return sum("decoder" in thread.name for thread in threading.enumerate())

    for mark in range(3):
        far.speak(mark)
    await stock_joined(stock, far)
    await until(lambda: decoders() == 3)
    await stock.pc.close()
    again, heard = FarEnd(), list[Received]()
    for mark in range(3):
        again.speak(mark)
    async with peer(heard) as ours:
        await joined(ours, again)
        await until(lambda: len({r.mid for r in heard}) == 3)
        assert decoders() == 0
    await again.pc.close()


class Tone(MediaStreamTrack):
    """Frames, as one would write it for stock aiortc."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def recv(self) -> Any:
        await asyncio.sleep(0.02)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, self.count * 960
        self.count += 1
        return frame


async def test_row_18_send_path(far: Any, stock: Any, until: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock computes a level and encodes 96 kbit/s stereo for each call; we send what was encoded once."""
    levels: list[int] = []

    def level(frame: Any) -> int:
        levels.append(1)
        return -50

    monkeypatch.setattr(aiortc.rtp, "compute_audio_level_dbov", level)
    track = Tone()
    stock.pc.addTransceiver(track, "sendrecv")
    await stock.accept(await far.answer(await stock.offer()))
    await until(lambda: track.count > 5)
    assert levels
    await stock.pc.close()
    heard = list[Received]()
    prompt = Prompt.from_pcm(np.full(9600, 900, dtype=np.int16))
    async with heard_by(heard) as (_, voice):
        levels.clear()
        await voice.say(prompt)
        assert await asyncio.wait_for(voice.say(prompt), 5) == pytest.approx(0.2, abs=0.021)
        await until(lambda: [r.payload for r in heard][-len(prompt.packets) :] == list(prompt.packets))
    assert levels == []
    assert isinstance(voice, Mixer)
