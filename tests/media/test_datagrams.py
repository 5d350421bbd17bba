"""The same walk on every receive path, against a second real connection."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtp import RtpPacket

from voki_bots.media.datagrams import Entrance, ReceivePath, tick_misfit
from voki_bots.media.peer import Peer
from voki_bots.media.quirks import Pulse
from voki_bots.media.receive import Intake
from voki_bots.media.rtp import DIGITS, Received


class Heard(list[Received]):
    """What a Peer delivered."""

    def payloads(self, mid: str | None = None) -> list[bytes]:
        return [r.payload for r in self if mid is None or r.mid == mid]


@pytest.fixture(params=list(ReceivePath))
def path(request: pytest.FixtureRequest) -> ReceivePath:
    """Each test is run on every path."""
    found: ReceivePath = request.param
    return found


def peer(heard: Heard, path: ReceivePath) -> Peer:
    return Peer(0, loopback=True, on_packet=heard.append, clock=time.monotonic, path=path)


async def connect(ours: Peer, far: Any, strip: str = r"$^") -> None:
    await far.accept(await ours.answer(re.sub(strip, "", await far.offer())))
    await ours.connected(5)


async def test_the_path_that_was_asked_for_is_taken(path: ReceivePath, far: Any) -> None:
    """On this machine all three fit."""
    far.speak()
    async with peer(Heard(), path) as ours:
        await connect(ours, far)
        assert ours.path is path


async def test_two_lines_are_told_apart_by_mid(path: ReceivePath, far: Any, until: Any) -> None:
    """Without a=ssrc every payload arrives on its own line, from the first on."""
    heard, one, two = Heard(), far.speak(1), far.speak(2)
    async with peer(heard, path) as ours:
        await connect(ours, far, r"a=ssrc[^\r]*\r\n")
        await until(lambda: len(heard.payloads("0")) >= 10 and len(heard.payloads("1")) >= 10)
    assert (heard.payloads("0")[:10], heard.payloads("1")[:10]) == (one.sent[:10], two.sent[:10])


async def test_a_changed_source_is_followed(path: ReceivePath, far: Any, until: Any) -> None:
    """An SFU that switches the SSRC in mid-call is heard on the same line."""
    heard = Heard()
    far.speak()
    async with peer(heard, path) as ours:
        await connect(ours, far)
        await until(lambda: len(heard) >= 5)
        far.pc.getSenders()[0]._ssrc = 12_345
        await until(lambda: heard[-1].ssrc == 12_345)
    assert heard[-1].mid == "0"


async def test_reports_tell_of_what_was_lost(path: ReceivePath, far: Any, until: Any) -> None:
    """Receiver reports reach the far end, with the true number of packets lost."""
    heard, report = Heard(), {}
    far.speak()
    async with peer(heard, path) as ours:
        await connect(ours, far)
        await until(lambda: len(heard) >= 3)
        sender = far.pc.getSenders()[0]
        stock, far.transport._send_rtp = far.transport._send_rtp, _swallow(far.transport, 3)
        await until(lambda: far.transport._send_rtp is not stock and len(heard) >= 15)

        def lost() -> int:
            found = [s for s in sender._RTCRtpSender__stats.values() if s.type == "remote-inbound-rtp"]
            report.update(lost=found[-1].packetsLost if found else 0)
            return int(report["lost"])

        await until(lost)
    assert report["lost"] == 3


def _swallow(transport: Any, count: int) -> Any:
    """Lose the next so many media packets on their way."""
    stock, left = transport._send_rtp, [count]

    async def send(data: bytes) -> None:
        if left[0] and not 192 <= data[1] <= 223:
            left[0] -= 1
        else:
            await stock(data)

    return send


async def test_hostile_datagrams_do_not_close_the_call(path: ReceivePath, far: Any, until: Any) -> None:
    """Empty, too long, too short and forged ones are counted, and the call goes on."""
    heard = Heard()
    far.speak()
    async with peer(heard, path) as ours:
        await connect(ours, far)
        pair = next(iter(far.transport.transport._connection._nominated.values()))
        forged = b"\x90\x60" + bytes(40)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"", b"\x80" + bytes(1701), b"\x80" + bytes(3000), b"\x80", forged):
                stranger.sendto(data, pair.remote_addr)
        await until(lambda: ours.hostile >= 4)
        count = len(heard)
        await until(lambda: len(heard) > count + 5)
        assert ours.state == "connected"


async def test_padding_counts_in_the_sequence(path: ReceivePath, far: Any, until: Any) -> None:
    """A packet of padding alone is delivered empty, for whoever orders the packets."""
    heard = Heard()
    far.speak()
    async with peer(heard, path) as ours:
        await connect(ours, far)
        padding = RtpPacket(
            payload_type=96, sequence_number=9, timestamp=5, ssrc=far.pc.getSenders()[0]._ssrc
        )
        padding.padding_size = 40
        await far.transport._send_rtp(padding.serialize(far.transport._rtp_header_extensions_map))
        await until(lambda: b"" in heard.payloads())


async def test_a_digit_is_delivered_as_one(path: ReceivePath, far: Any, until: Any) -> None:
    """A type that the far end offers for telephone events is in our answer, and its packets have a kind."""
    heard = Heard()
    far.speak()
    offer = re.sub(r"(m=audio[^\r]*)", r"\1 110", await far.offer())
    offer = offer.replace("a=rtpmap:96 ", "a=rtpmap:110 telephone-event/48000\r\na=rtpmap:96 ")
    async with peer(heard, path) as ours:
        answer = await ours.answer(offer)
        await far.accept(answer)
        await ours.connected(5)
        await until(lambda: heard)
        number = (heard[-1].sequence + 40) & 0xFFFF
        digit = RtpPacket(payload_type=110, sequence_number=number, timestamp=5, ssrc=heard[-1].ssrc)
        digit.payload = b"\x0b\x8a\x03\xc0"
        await far.transport._send_rtp(digit.serialize(far.transport._rtp_header_extensions_map))
        await until(lambda: [r for r in heard if r.kind == DIGITS])
    (came,) = [(r.payload, r.clock_rate) for r in heard if r.kind == DIGITS]
    assert ("a=rtpmap:110 telephone-event/48000" in answer, came) == (True, (b"\x0b\x8a\x03\xc0", 48_000))


async def test_packets_arrive_when_the_kernel_says_so(far: Any, until: Any) -> None:
    """One tick reads the packets of two speakers, and yet no two have the same time."""
    heard, _, _ = Heard(), far.speak(1), far.speak(2)
    async with peer(heard, ReceivePath.TICK) as ours:
        await connect(ours, far)
        await until(lambda: len(heard) >= 30)
    assert len({r.arrival for r in heard}) == len(heard)


async def test_closing_gives_the_loop_back_as_it_was(far: Any) -> None:
    """After the last socket is closed no timer of the tick is left."""
    far.speak()
    async with peer(Heard(), ReceivePath.TICK) as ours:
        await connect(ours, far)
    scheduled = [h for h in asyncio.get_running_loop()._scheduled if not h.cancelled()]  # type: ignore[attr-defined]
    assert not [h for h in scheduled if "Tick" in repr(h)]


def test_a_foreign_event_loop_has_no_tick() -> None:
    """Only asyncio's own selector loop lets go of a socket."""
    assert "selector" in (tick_misfit(object()) or "")  # type: ignore[arg-type]


def test_a_transport_of_another_shape_stays_on_the_receiver_path() -> None:
    """What does not fit is noticed by looking, not by failing, and told."""
    dtls = SimpleNamespace(state="connected", transport=object(), on=lambda event, call: calls.append(call))
    calls: list[Any] = []
    intake, pulse = Intake(lambda received: None, time.monotonic), Pulse(time.monotonic)
    told: list[str] = []
    entrance = Entrance(dtls, pulse, intake, ReceivePath.TICK, told.append)
    calls[0]()
    assert (entrance.path, told) == (ReceivePath.RECEIVER, ["receive_path"])
