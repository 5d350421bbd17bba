"""Descriptions, the friendly and the hostile."""

from __future__ import annotations

import re

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from voki_bots.errors import NegotiationError
from voki_bots.media import sdp

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:{FINGERPRINT}\r\n"
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"


def audio(mid: str = "0", *, port: int = 9, more: str = "a=sendonly\r\n", transport: str = TRANSPORT) -> str:
    opus = "a=rtpmap:111 opus/48000/2\r\n"
    return f"m=audio {port} UDP/TLS/RTP/SAVPF 111 0\r\na=mid:{mid}\r\n{transport}{opus}{more}"


def offer(*sections: str) -> sdp.Description:
    return sdp.parse(HEAD + "".join(sections), "offer")


async def taken(description: sdp.Description, kind: str = "offer") -> RTCPeerConnection:
    """Let a stock connection take what we would give it."""
    pc = RTCPeerConnection()
    try:
        await pc.setRemoteDescription(RTCSessionDescription(sdp.write(description), kind))
    finally:
        await pc.close()
    return pc


def test_a_line_says_who_is_on_it() -> None:
    """Names and sources are read, the dash that means no stream is not a name."""
    more = (
        "a=sendonly\r\na=msid:- mic\r\na=ssrc:7 cname:anna\r\na=ssrc:8 cname:anna\r\na=ssrc-group:FID 7 8\r\n"
    )
    assert offer(audio(more=more)).sections[0].line() == sdp.Line(
        "0", "audio", "sendonly", ("mic",), "anna", (7,), False
    )


def test_port_0_is_rejected_unless_it_is_bundle_only() -> None:
    """A bundle-only line has port 0 and is alive."""
    lines = offer(audio(port=0), audio("1", port=0, more="a=bundle-only\r\n")).sections
    assert [s.rejected for s in lines] == [True, False]


async def test_transport_is_filled_in_from_the_bundle() -> None:
    """Only the first line carries credentials, role and rtcp-mux are missing: aiortc takes it still."""
    mine = sdp.acceptable_offer(offer(audio(), audio("1", transport="")))
    await taken(mine)
    assert [(s.ufrag, s.setup) for s in mine.sections] == [("abcd", "actpass")] * 2


async def test_a_rejected_line_becomes_an_inactive_one() -> None:
    """A participant who left does not make the whole offer fail."""
    gone = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n"
    mine = sdp.acceptable_offer(offer(audio(), gone))
    await taken(mine)
    assert [s.direction for s in mine.sections] == ["sendonly", "inactive"]


@pytest.mark.parametrize("codec", ["VP9/90000", "AV1/90000", "H265/90000", "H264/90000"])
async def test_video_that_we_cannot_decode_does_not_make_the_offer_fail(codec: str) -> None:
    """It becomes an inactive line with a codec that aiortc knows."""
    video = f"m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:1\r\na=rtpmap:98 {codec}\r\na=sendrecv\r\n"
    theirs = offer(audio(), video)
    await taken(sdp.acceptable_offer(theirs))
    assert not theirs.sections[1].usable


async def test_lines_of_other_kinds_keep_their_place() -> None:
    """A data channel between two audio lines is masked, so that the indices agree."""
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n"
    mine = sdp.acceptable_offer(offer(audio(), data, audio("1")))
    await taken(mine)
    assert [(s.mid, s.direction) for s in mine.sections] == [
        ("0", "sendonly"),
        ("d", "inactive"),
        ("1", "sendonly"),
    ]


def test_a_description_without_transport_is_refused() -> None:
    """There is nobody to talk to."""
    with pytest.raises(NegotiationError, match="names no ICE credentials"):
        sdp.acceptable_offer(offer(audio(transport="")))


@pytest.mark.parametrize(("said", "meant"), [("actpass", "active"), ("passive", "passive"), ("", "active")])
def test_an_answer_has_a_role(said: str, meant: str) -> None:
    """`actpass` in an answer is against RFC 8842, and means that the far end begins."""
    answer = sdp.parse(HEAD + audio(more=f"a=setup:{said}\r\n"), "answer")
    assert sdp.acceptable_answer(answer, offer(audio())).sections[0].setup == meant


def test_lines_that_an_answer_leaves_out_are_rejected_copies_of_ours() -> None:
    """The answer then matches the offer line by line, in our order."""
    ours = offer(audio("0"), audio("1"), audio("2"))
    answer = sdp.parse(HEAD + audio("2"), "answer")
    mine = sdp.acceptable_answer(answer, ours)
    assert [(s.mid, s.direction) for s in mine.sections] == [
        ("0", "inactive"),
        ("1", "inactive"),
        ("2", "sendonly"),
    ]


def test_an_answer_without_mids_is_matched_by_position() -> None:
    """What has no name is found by its place."""
    answer = sdp.parse(HEAD + audio().replace("a=mid:0\r\n", ""), "answer")
    assert sdp.acceptable_answer(answer, offer(audio("0"))).sections[0].direction == "sendonly"


def test_payload_types_that_collide_with_rtcp_are_left_out() -> None:
    """64 to 95 would be taken for RTCP (RFC 5761 section 4)."""
    text = audio().replace("111", "72")
    assert not offer(text).sections[0].usable


def test_our_answer_rejects_by_port_and_leaves_the_bundle() -> None:
    """The rejected line is written as the far end wrote it, so that it can be recycled."""
    theirs = offer(audio(), "m=text 9 RTP/AVP 98\r\na=mid:1\r\n")
    ours = "v=0\r\na=group:BUNDLE 0 1\r\n" + audio() + audio("1")
    text = sdp.presentable(ours, theirs, {"1"})
    assert "a=group:BUNDLE 0\r\n" in text
    assert re.findall(r"m=(\S+) (\d+) (\S+) (\S+)", text)[1] == ("text", "0", "RTP/AVP", "98")


def test_the_user_fragment_is_found_in_the_session_or_a_line() -> None:
    """An ICE restart is noticed before aiortc is asked."""
    assert (sdp.ufrag_of(HEAD + audio()), sdp.ufrag_of("v=0\r\n")) == ("abcd", None)


PIECES = st.sampled_from(
    [
        HEAD,
        audio(),
        audio("1", port=0),
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\n",
        "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        "m=audio 9 X 255 \u0661\r\n",
        "a=fmtp:111 apt=\u0663;=;minptime=x\r\n",
        "a=rtcp-fb:* nack\r\n",
        "a=rtcp-fb:111\r\n",
        "a=ssrc:4294967296 cname:x\r\n",
        "a=ssrc:1\r\na=ssrc:2 msid:\r\n",
        "a=ssrc-group:FID 1\r\na=ssrc-group:FID 1 x\r\n",
        "a=extmap:0 a\r\na=extmap:999 urn:x\r\na=extmap:1/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
        "a=fingerprint:sha-1 AA\r\na=fingerprint:\r\na=setup:holdconn\r\n",
        "a=mid:\r\na=mid:0\r\na=mid:a b\r\n",
        "a=group:BUNDLE\r\na=group:BUNDLE 9 8 7\r\n",
        "a=candidate:1 1 udp 1 999.1 x typ host\r\n",
        "a=ice-ufrag:x\r\na=ice-pwd:short\r\na=ice-lite\r\n",
        "a=rtpmap:111 opus/0/2\r\na=rtpmap:300 opus/48000\r\n",
        "m=\r\n",
        "\x00\u2028\x85\r\n",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=300)))
@settings(max_examples=300, deadline=None)
async def test_whatever_text_comes_either_aiortc_takes_what_we_make_of_it_or_it_is_a_negotiation_error(
    text: str,
) -> None:
    """A hostile offer cannot raise anything else, nor fail in aiortc after we accepted it."""
    try:
        mine = sdp.acceptable_offer(sdp.parse(text, "offer"))
    except NegotiationError:
        return
    await taken(mine)
