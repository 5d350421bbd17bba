"""Numbers in offers, which must mean the same for as long as a bundle lives."""

import re

from aiortc import RTCPeerConnection, RTCSessionDescription

from voki_bots.sandbox.connections import new_offer
from voki_bots.sandbox.paths import close_connection


def as_a_browser(text: str) -> str:
    """An offer of aiortc's with the numbers of somebody else."""
    text = re.sub(r"(m=audio \d+ \S+) 96", r"\1 111", text)
    for ours, theirs in (
        ("rtpmap:96 ", "rtpmap:111 "),
        ("fmtp:96 ", "fmtp:111 "),
        ("extmap:1 ", "extmap:4 "),
    ):
        text = text.replace(ours, theirs)
    return text.replace("extmap:2 ", "extmap:14 ")


async def test_a_later_offer_keeps_the_numbers_of_the_browser():
    """Opus stays 111 and the MID 4, on the first line and on one that is new."""
    theirs, ours = RTCPeerConnection(), RTCPeerConnection()
    theirs.addTransceiver("audio")
    await theirs.setLocalDescription(await theirs.createOffer())
    await ours.setRemoteDescription(RTCSessionDescription(as_a_browser(theirs.localDescription.sdp), "offer"))
    await ours.setLocalDescription(await ours.createAnswer())
    ours.addTransceiver("audio", direction="sendonly")
    offer = (await new_offer(ours)).sdp
    await close_connection(theirs)
    await close_connection(ours)
    assert (
        offer.count("a=rtpmap:111 opus"),
        offer.count("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"),
    ) == (2, 2)
