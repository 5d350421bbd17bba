"""Connections as the SFU and its people make them with aiortc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RTCP_PSFB_PLI, RtcpPsfbPacket, RtpPacket
from aiortc.sdp import SessionDescription

from ..units import SAMPLE_RATE
from .certificates import accept_rsa, use_rsa_certificate
from .numbers import keep_numbers, numbers
from .pictures import CODECS

_KNOWN = [c for kind in ("audio", "video") for c in RTCRtpSender.getCapabilities(kind).codecs]


def kind_of(codec: str) -> str:
    """Say what a codec, named in small letters, is of: ``audio`` or ``video``."""
    return "audio" if codec == "opus" else "video"


def only(*codecs: str) -> list[Any]:
    """Return what a line may negotiate that carries these codecs."""
    mimes = {f"{kind_of(codec)}/{codec}" for codec in codecs}
    return [c for c in _KNOWN if c.mimeType.lower() in mimes]


def offered(kind: str) -> list[Any]:
    """Return what the SFU offers on each line of a kind: in a bundle one number is one codec (RFC 9143)."""
    return only("opus") if kind == "audio" else only(*CODECS)


def new_connection(addresses: Sequence[str], *, rsa: bool = False) -> RTCPeerConnection:
    """Return a bundled RTCPeerConnection without any ICE server, with an RSA certificate if wanted."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    accept_rsa(pc)
    if rsa:
        use_rsa_certificate(pc)
    return pc


async def new_offer(pc: RTCPeerConnection) -> RTCSessionDescription:
    """Make an offer, the first or a later one."""
    known = numbers(pc)
    offer = await pc.createOffer()
    described = SessionDescription.parse(offer.sdp)
    keep_numbers(pc, known, described)
    return RTCSessionDescription(str(described), "offer") if known else offer


def take_packets(receiver: Any, take: Callable[[RtpPacket], Any]) -> None:
    """Hand each RTP packet of `receiver` to the coroutine function `take` instead of decoding it.

    Receiver reports stay right, for the far end sees that its packets arrive.
    """
    streams = receiver._RTCRtpReceiver__remote_streams

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        if packet.ssrc not in streams:
            streams[packet.ssrc] = StreamStatistics(SAMPLE_RATE)
        streams[packet.ssrc].add(packet)
        await take(packet)

    receiver._handle_rtp_packet = handle


def asks_for_key_frame(packet: Any, ssrc: int) -> bool:
    """Whether an RTCP packet is a picture loss indication about a source (RFC 4585 section 6.3.1)."""
    asks = isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_PLI
    return asks and packet.media_ssrc == ssrc
