"""Our Peer against a second real connection on loopback."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aiortc.rtcdtlstransport import RTCCertificate, generate_certificate
from aiortc.rtp import RtpPacket
from cryptography.hazmat.primitives.asymmetric import rsa

from voki_bots.errors import IceError, NegotiationError
from voki_bots.media.peer import IceServer, Peer
from voki_bots.media.rtp import Received

CLOCK = time.monotonic


class Heard(list[Received]):
    """What our Peer delivered."""

    def payloads(self, mid: str | None = None) -> list[bytes]:
        return [r.payload for r in self if mid is None or r.mid == mid]


def peer(heard: Heard, **options: Any) -> Peer:
    return Peer(0, loopback=True, on_packet=heard.append, clock=CLOCK, **options)


async def answering(ours: Peer, far: Any) -> None:
    await far.accept(await ours.answer(await far.offer()))
    await ours.connected(5)


async def test_answering_gives_every_packet_as_it_was_sent(far: Any, until: Any) -> None:
    """The far end offers; all payloads arrive, from the very first, in order."""
    heard, speaker = Heard(), far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        await until(lambda: len(heard) >= 20)
    assert heard.payloads()[:20] == speaker.sent[:20]


async def test_offering_gives_every_packet_as_it_was_sent(far: Any, until: Any) -> None:
    """We offer, the far end answers with its track."""
    heard = Heard()
    async with peer(heard) as ours:
        offer = await ours.offer()
        speaker = far.speak()
        await ours.accept(await far.answer(offer))
        await ours.connected(5)
        await until(lambda: len(heard) >= 20)
    assert heard.payloads()[:20] == speaker.sent[:20]


async def test_our_offer_is_complete_and_says_that_we_trickle(far: Any) -> None:
    """Candidates, trickle, in-band redundancy and nothing but recvonly are in the text."""
    async with peer(Heard()) as ours:
        offer = await ours.offer(audio_lines=2)
    assert "a=candidate:" in offer
    assert "a=ice-options:trickle" in offer
    assert "useinbandfec=1" in offer
    assert re.findall(r"a=(sendrecv|sendonly|recvonly)", offer) == ["recvonly", "recvonly"]


async def test_local_candidates_have_the_loopback_and_the_first_mid(far: Any) -> None:
    """What is pushed to the far end names the first line and the loopback address."""
    async with peer(Heard()) as ours:
        await ours.offer()
        first = ours.local_candidates()[0]
    assert first.candidate.startswith("candidate:")
    assert (" 127.0.0.1 " in first.candidate, first.mid, first.line) == (True, "0", 0)


async def test_two_lines_without_announced_sources_are_told_apart_by_mid(far: Any, until: Any) -> None:
    """Without a=ssrc, the MID header extension assigns packets to lines."""
    heard = Heard()
    one, two = far.speak(1), far.speak(2)
    async with peer(heard) as ours:
        offer = re.sub(r"a=ssrc[^\r]*\r\n", "", await far.offer())
        await far.accept(await ours.answer(offer))
        await ours.connected(5)
        await until(lambda: len(heard.payloads("0")) >= 10 and len(heard.payloads("1")) >= 10)
    assert heard.payloads("0")[:10] == one.sent[:10]
    assert heard.payloads("1")[:10] == two.sent[:10]


async def test_a_changed_source_on_a_line_is_heard(far: Any, until: Any) -> None:
    """An SFU that switches the SSRC in mid-call is followed."""
    heard = Heard()
    far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        await until(lambda: len(heard) >= 5)
        far.pc.getSenders()[0]._ssrc = 12_345
        await until(lambda: heard[-1].ssrc == 12_345)
    assert heard[-1].mid == "0"


async def test_receiver_reports_reach_the_far_end(far: Any, until: Any) -> None:
    """An SFU that sees no reports would throttle us."""
    far.speak()
    async with peer(Heard()) as ours:
        await answering(ours, far)

        def reports() -> list[Any]:
            sender = far.pc.getSenders()[0]
            return [s for s in sender._RTCRtpSender__stats.values() if s.type == "remote-inbound-rtp"]

        await until(reports)
        assert reports()[0].packetsLost == 0


async def test_no_decoder_thread_is_left(far: Any, until: Any) -> None:
    """Nothing decodes, whoever speaks."""
    heard = Heard()
    far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        await until(lambda: len(heard) >= 3)
        names = [t.name for t in threading.enumerate()]
    assert not [n for n in names if "decoder" in n]


async def test_hostile_datagrams_do_not_close_the_call(far: Any, until: Any) -> None:
    """An empty datagram and one that is longer than SRTP's buffer are counted, and the call goes on."""
    heard = Heard()
    far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        pair = next(iter(far.transport.transport._connection._nominated.values()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"", b"\x80" + bytes(1701), b"\x80", b"\x90" + bytes(30)):
                stranger.sendto(data, pair.remote_addr)
        await until(lambda: ours.hostile >= 3)
        count = len(heard)
        await until(lambda: len(heard) > count + 5)
        assert ours.state == "connected"


async def test_padding_packets_are_delivered_empty(far: Any, until: Any) -> None:
    """They count in the sequence; what orders the packets leaves them out afterwards."""
    heard = Heard()
    far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        sender = far.pc.getSenders()[0]
        padding = RtpPacket(payload_type=96, sequence_number=9, timestamp=5, ssrc=sender._ssrc)
        padding.padding_size = 40
        await far.transport._send_rtp(padding.serialize(far.transport._rtp_header_extensions_map))
        await until(lambda: b"" in heard.payloads())


async def test_candidates_before_the_description_are_kept(far: Any, until: Any) -> None:
    """Trickled candidates that overtake the offer, named for any bundled mid, still connect."""
    far.speak(), far.speak()
    offer = await far.offer()
    candidates = list(dict.fromkeys(re.findall(r"a=(candidate:[^\r]*)", offer)))
    bare = re.sub(r"a=(candidate:|end-of-candidates)[^\r]*\r\n", "", offer)
    async with peer(Heard()) as ours:
        for candidate in candidates:
            await ours.add_candidate(candidate, "1", 1)
        await ours.add_candidate("", "1", 1)
        await far.accept(await ours.answer(bare))
        await ours.connected(5)


async def test_a_new_offer_tells_of_new_lines_and_names(far: Any, until: Any) -> None:
    """Names of streams are read again at every offer, for lines are reused."""
    heard = Heard()
    far.speak()
    async with peer(heard) as ours:
        await answering(ours, far)
        far.speak(7)
        offer = re.sub(r"a=msid:[^\r]*", "a=msid:customer-42 mic", await far.offer())
        await far.accept(await ours.answer(offer))
        await until(lambda: len(heard.payloads("1")) >= 5)
        assert [line.msid for line in ours.lines] == [("customer-42", "mic")] * 2


async def test_rejected_and_unusable_lines_are_answered_with_port_0(far: Any, until: Any) -> None:
    """A line without anything, a text line and a video line with codecs we lack do not hinder the others."""
    heard = Heard()
    far.speak()
    offer = await far.offer()
    extra = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:gone\r\nm=text 9 RTP/AVP 98\r\na=mid:t\r\n"
    extra += "m=video 9 UDP/TLS/RTP/SAVPF 45\r\na=mid:v\r\na=rtpmap:45 AV1/90000\r\na=sendonly\r\n"
    async with peer(heard) as ours:
        answer = await ours.answer(offer.replace("BUNDLE 0", "BUNDLE 0 v") + extra)
        assert re.findall(r"m=(\w+) 0", answer) == ["audio", "text", "video"]
        assert "a=group:BUNDLE 0\r\n" in answer
        await far.accept(answer.split("m=audio 0")[0])
        await ours.connected(5)
        await until(lambda: len(heard) >= 5)


async def test_an_ice_restart_asks_for_a_new_peer(far: Any) -> None:
    """Stock aiortc would go on with the old path; we say that only a new Peer can."""
    far.speak()
    async with peer(Heard()) as ours:
        await answering(ours, far)
        offer = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:restarted", await far.offer())
        with pytest.raises(NegotiationError) as caught:
            await ours.answer(offer)
    assert caught.value.step == "ice-restart"


async def test_a_far_end_that_never_comes_is_an_ice_error() -> None:
    """Stock aiortc would wait for ever; we have a limit."""
    async with peer(Heard()) as ours:
        await ours.offer()
        with pytest.raises(IceError, match=r"within 0\.2 s"):
            await ours.connected(0.2)


async def test_a_far_end_that_closes_is_noticed_at_once(far: Any) -> None:
    """The closing of DTLS resolves `failed`."""
    far.speak()
    async with peer(Heard()) as ours:
        await answering(ours, far)
        await far.pc.close()
        assert await asyncio.wait_for(ours.failed(), 2) == "the far end closed the connection"


async def test_a_far_end_that_falls_silent_is_noticed_within_a_few_seconds(far: Any) -> None:
    """No packet, no answer to consent checks: the connection is lost, long before 30 s."""
    far.speak()
    async with peer(Heard(), patience=2.0) as ours:
        await answering(ours, far)
        for protocol in far.transport.transport._connection._protocols:
            protocol.transport.sendto = lambda *args: None
        assert "silent" in await asyncio.wait_for(ours.failed(), 5)


async def test_a_quiet_call_is_not_taken_for_a_dead_one(far: Any) -> None:
    """Without any media the far end answers when asked, and the connection stays."""
    far.pc.addTransceiver("audio", "sendonly")
    async with peer(Heard(), patience=1.0) as ours:
        await answering(ours, far)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ours.failed(), 2.5)


async def test_a_cancelled_close_still_closes(far: Any) -> None:
    """Cancelling whoever closes neither leaves the connection open nor hangs."""
    far.speak()
    ours = peer(Heard())
    await ours.__aenter__()
    await answering(ours, far)
    task = asyncio.create_task(ours.close())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ours.state == "closed"


async def test_closing_leaves_no_task_behind(far: Any) -> None:
    """After the `async with` only the far end's tasks are left."""
    far.speak()
    async with peer(Heard()) as ours:
        await answering(ours, far)
    await far.pc.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_rsa_certificates_are_accepted(far: Any, until: Any) -> None:
    """A far end with an RSA certificate, as Elixir SFUs have, completes the handshake as DTLS server."""
    key: Any = rsa.generate_private_key(65_537, 2048)
    certificate: Any = RTCCertificate(key, generate_certificate(key))
    stock = certificate._create_ssl_context

    def create(srtp_profiles: Any) -> Any:
        context = stock(srtp_profiles=srtp_profiles)
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
        return context

    certificate._create_ssl_context = create
    far.pc._RTCPeerConnection__certificates[:] = [certificate]
    far.speak()
    async with peer(Heard()) as ours:
        assert ours.certificate is None
        await answering(ours, far)
        assert ours.certificate == "rsa"


async def test_a_sending_peer_offers_sendrecv_and_sends_paced_silence(far: Any, until: Any) -> None:
    """Only a Peer that is told to has a sender."""
    async with peer(Heard(), sending=True) as ours:
        offer = await ours.offer()
        await ours.accept(await far.answer(offer))
        await ours.connected(5)
        frame = await asyncio.wait_for(far.pc.getReceivers()[0].track.recv(), 5)
        assert "a=sendrecv" in offer
        assert not frame.to_ndarray().any()


@pytest.mark.parametrize("text", ["", "v=0", "m=audio 9 x 0\r\n", "\x00" * 50, "m=audio 99999999 a b"])
async def test_nonsense_is_a_negotiation_error(text: str) -> None:
    """Whatever the far end calls an offer, the error is ours."""
    async with peer(Heard()) as ours:
        with pytest.raises(NegotiationError):
            await ours.answer(text)


FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)


def line(mid: str, *, port: int = 9, kind: str = "audio") -> str:
    codec = "opus/48000/2" if kind == "audio" else "VP8/90000"
    transport = (
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:{FINGERPRINT}\r\na=setup:actpass\r\n"
    )
    head = f"m={kind} {port} UDP/TLS/RTP/SAVPF 96\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\n"
    return head + transport + f"a=rtpmap:96 {codec}\r\n"


async def test_a_line_that_was_rejected_may_be_recycled_for_somebody_else() -> None:
    """Rejected, then used again under another mid, also with another kind: the answers follow."""
    said = []
    async with peer(Heard()) as ours:
        for second in (line("1"), line("1", port=0), line("2"), line("2", port=0), line("3", kind="video")):
            answer = await ours.answer("v=0\r\n" + line("0") + second)
            said.append(re.findall(r"m=(\w+) (\d+)[^\x00]*?a=mid:(\d)", answer)[1])
    ports = [(kind, port != "0", mid) for kind, port, mid in said]
    assert ports == [
        ("audio", True, "1"),
        ("audio", False, "1"),
        ("audio", True, "2"),
        ("audio", False, "2"),
        ("video", True, "3"),
    ]


async def test_video_is_answered_inactive_unless_it_is_wanted() -> None:
    """A bot that records voices does not make the SFU send pictures."""
    found = []
    for video in (False, True):
        async with peer(Heard(), video=video) as ours:
            answer = await ours.answer("v=0\r\n" + line("0") + line("1", kind="video"))
            found.append(re.findall(r"a=(inactive|recvonly|sendrecv)", answer))
    assert found == [["recvonly", "inactive"], ["recvonly", "recvonly"]]


async def test_relay_only_without_a_turn_server_says_so_at_once() -> None:
    """Stock aiortc stays `new` for ever."""
    async with peer(Heard(), relay_only=True) as ours:
        with pytest.raises(IceError, match="no TURN server"):
            await ours.offer()


async def test_urls_that_cannot_be_read_are_skipped() -> None:
    """One odd url of the platform does not cost the call."""
    server = IceServer(("turn:[::1]:3478", "http://x", "stun:"), "u", "secret")
    async with peer(Heard(), ice_servers=[server]) as ours:
        assert "a=candidate" in await ours.offer()
    assert "secret" not in repr(server)


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 6, 8])
async def test_a_cancelled_offer_leaves_no_socket(turns: int) -> None:
    """Whoever is cancelled while candidates are gathered still closes every socket that was opened."""
    before = _sockets()
    async with peer(Heard()) as ours:
        offering = asyncio.create_task(ours.offer())
        for _ in range(turns):
            await asyncio.sleep(0)
        offering.cancel()
        await asyncio.gather(offering, return_exceptions=True)
    assert _sockets() == before


def _sockets() -> int:
    """How many sockets this process has open."""
    links = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum(str(link).startswith("socket:") for link in links)
