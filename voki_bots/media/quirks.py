"""Every cure that touches a private name of aiortc or aioice.

Each works on one instance and never on a class or module, for other users of the libraries in the same
process keep the stock behaviour. Each checks that what it touches is there; what is missing is logged
once per process and the call goes on without that cure. Written against aiortc 1.16 and aioice 0.13.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import aioice.stun
import aioice.turn
import structlog
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.sdp import SessionDescription

_log = structlog.get_logger(__name__)

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:"
    b"ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA"
)
"""aiortc's list, and the same with RSA: Elixir SFUs have RSA certificates."""

MAX_DATAGRAM = 1500
CONSENT_SECONDS = 5.0
CONSENT_EXPIRES = 30.0
QUIET_SECONDS = 0.75
ANSWER_SECONDS = 0.5
QUESTIONS = 3
TURN_SECONDS = 2.0
DELETE_SECONDS = 0.5
GATHER_SECONDS = 4.5
"""A little less than aioice gives the servers to answer."""

FOREIGN = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OSError,
    InternalError,
    InvalidAccessError,
    InvalidStateError,
    OperationError,
)
"""What aiortc raises on what it does not take, and never a cancellation."""


def brief(error: BaseException) -> str:
    """Name a foreign error without what may be in it: descriptions hold the transport's credentials."""
    text = str(error)
    plain = text if len(text) < 100 and not any(c in text for c in "\r\n=") else ""
    return f"{type(error).__name__}{': ' + plain if plain else ''}"


_missing: set[str] = set()


def _touch(owner: object, name: str) -> Any:
    """Get a private attribute, or say once that this version has none."""
    found = getattr(owner, name, None)
    if found is None and name not in _missing:
        _missing.add(name)
        _log.warning("cure_unavailable", owner=type(owner).__name__, name=name)
    return found


def accept_rsa(pc: RTCPeerConnection) -> None:
    """Let the far end have an RSA certificate: stock aiortc offers ECDHE-ECDSA suites alone."""
    for certificate in _touch(pc, "_RTCPeerConnection__certificates") or ():
        original = _touch(certificate, "_create_ssl_context")
        if original is None:
            continue

        def create(srtp_profiles: Any, original: Callable[..., Any] = original) -> Any:
            context = original(srtp_profiles=srtp_profiles)
            context.set_cipher_list(CIPHERS)
            return context

        certificate._create_ssl_context = create


def certificate_kind(dtls: Any) -> str | None:
    """Say what key the far end's certificate has, once DTLS is up: ``rsa``, ``ecdsa`` or ``other``."""
    connection = getattr(dtls, "_ssl", None)  # none before the handshake
    found = connection.get_peer_certificate(as_cryptography=True) if connection is not None else None
    if found is None:
        return None
    name = type(found.public_key()).__name__
    return {"RSAPublicKey": "rsa", "ECPublicKey": "ecdsa"}.get(name.removeprefix("_"), "other")


def keep_connecting_tasks(
    pc: RTCPeerConnection, failed: Callable[[BaseException], None]
) -> set[asyncio.Task[Any]]:
    """Keep hold of the tasks in which aiortc connects: it forgets them, also when they raise.

    Returns:
        Those that run now; it changes as they come and go.
    """
    running: set[asyncio.Task[Any]] = set()
    original = _touch(pc, "_RTCPeerConnection__connect")
    if original is None:
        return running

    async def connect() -> None:
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
            task.add_done_callback(running.discard)
        try:
            await original()
        except FOREIGN as error:
            failed(error)

    pc._RTCPeerConnection__connect = connect  # type: ignore[attr-defined]
    return running


async def make_offer(pc: RTCPeerConnection) -> RTCSessionDescription:
    """Make an offer in which every number means what it meant before.

    aiortc numbers the payload types and header extensions of all lines anew in each of its offers. Within a
    bundle that is forbidden (RFC 3264 section 8.3.2, RFC 8843 section 9.2), and a browser's tab crashes at
    it. New lines take over the numbers of a line of their kind.
    """
    known = {
        t.mid: (t.kind, list(t._codecs), list(t._headerExtensions))
        for t in pc.getTransceivers()
        if t.mid is not None and _touch(t, "_codecs")
    }
    offer = await pc.createOffer()
    if not known or pc.remoteDescription is None:
        return offer
    lines = {t._get_mline_index(): t for t in pc.getTransceivers()}
    described = SessionDescription.parse(offer.sdp)
    for index, media in enumerate(described.media):
        of_its_kind = (one for one in known.values() if one[0] == media.kind)
        found = known.get(media.rtp.muxId) or next(of_its_kind, None)
        if found is None:
            continue
        _, codecs, extensions = found
        lines[index]._codecs = media.rtp.codecs = list(codecs)
        lines[index]._headerExtensions = media.rtp.headerExtensions = list(extensions)
        media.fmt = [codec.payloadType for codec in codecs]
    return RTCSessionDescription(str(described), "offer")


def roll_back(pc: RTCPeerConnection) -> list[Any] | None:
    """Take our open offer back, as if it had never been made (RFC 8829 section 4.1.10.2): aiortc cannot.

    Only an offer on a connection that is up: its transport stays as it is.

    Returns:
        The transceivers that it had added, for whom the far end has no line; None if it cannot be taken back.
    """
    current = _touch(pc, "_RTCPeerConnection__currentLocalDescription")
    transceivers, seen = (
        _touch(pc, "_RTCPeerConnection__transceivers"),
        _touch(pc, "_RTCPeerConnection__seenMids"),
    )
    settle = _touch(pc, "_RTCPeerConnection__setSignalingState")
    if pc.signalingState != "have-local-offer" or None in (current, transceivers, seen, settle):
        return None
    known = {media.rtp.muxId for media in current.media}
    added = [t for t in transceivers if t.mid not in known]
    for transceiver in added:
        transceivers.remove(transceiver)
        seen.discard(transceiver.mid)
    pc._RTCPeerConnection__pendingLocalDescription = None  # type: ignore[attr-defined]
    settle("stable")
    return added


def gather_loopback(dtls: RTCDtlsTransport) -> None:
    """Offer 127.0.0.1 as a host candidate too, which aioice leaves out; never in relay-only mode."""
    connection = _touch(dtls.transport, "_connection")
    original = _touch(connection, "get_component_candidates")
    if original is None:
        return

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> Any:
        return await original(component=component, addresses=["127.0.0.1", *addresses], timeout=timeout)

    connection.get_component_candidates = gather


class Pulse:
    """When the far end was last heard on one ICE connection, and what never got through.

    Args:
        clock: Seconds.
    """

    __slots__ = ("at", "clock", "hostile", "rtt")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at = clock()
        self.hostile = 0
        self.rtt: float | None = None


def guard(dtls: RTCDtlsTransport, pulse: Pulse) -> None:
    """Stop datagrams that would close the connection, and note when the far end is heard.

    An empty datagram, or one in the range of SRTP that is longer than pylibsrtp's buffer, raises in
    aiortc's receiving task, which then ends the connection; so does a malformed header extension.
    """
    connection = _touch(dtls.transport, "_connection")
    received, requested = _touch(connection, "data_received"), _touch(connection, "request_received")
    if received is not None:

        def data_received(data: bytes, component: int) -> None:
            size = len(data)
            if size == 0 or (127 < data[0] < 192 and not 8 <= size <= MAX_DATAGRAM):
                pulse.hostile += 1
                return
            pulse.at = pulse.clock()
            received(data, component)

        connection.data_received = data_received
    if requested is not None:

        def request_received(*args: Any) -> None:
            pulse.at = pulse.clock()
            requested(*args)

        connection.request_received = request_received
    for name in ("_handle_rtp_data", "_handle_rtcp_data"):
        original = _touch(dtls, name)
        if original is not None:
            setattr(dtls, name, _careful(original, pulse))


def _careful(original: Callable[..., Awaitable[None]], pulse: Pulse) -> Callable[..., Awaitable[None]]:
    async def handle(*args: Any, **kwargs: Any) -> None:
        try:
            await original(*args, **kwargs)
        except (ValueError, IndexError, struct.error):
            pulse.hostile += 1

    return handle


def watch_consent(
    dtls: RTCDtlsTransport,
    pulse: Pulse,
    *,
    patience: float,
    jitter: Callable[[], float],
    lost: Callable[[str], None],
) -> None:
    """Notice within about `patience` that the far end is gone, where stock aioice takes half a minute.

    Anything that comes from the far end is a sign of life. After `QUIET_SECONDS` without any it is asked,
    twice a second, and after three without an answer it is gone: a stall of our own loop is no loss.
    Consent itself is renewed about every 5 s and expires after 30 s (RFC 7675 section 5.1).
    """
    connection = _touch(dtls.transport, "_connection")
    if _touch(connection, "query_consent") is None:
        return

    async def watch() -> None:
        clock = pulse.clock
        renewed = pulse.at = clock()
        due = renewed + CONSENT_SECONDS * (0.8 + 0.4 * jitter())
        unanswered, asked = 0, -math.inf
        while True:
            next_look = asked + ANSWER_SECONDS if unanswered else pulse.at + QUIET_SECONDS
            await asyncio.sleep(max(0.0, min(0.5, next_look - clock())))
            if clock() - pulse.at < QUIET_SECONDS:
                unanswered = 0
                if clock() < due:
                    continue
            asked = clock()
            if await _answers(connection):
                renewed = pulse.at = clock()
                pulse.rtt = renewed - asked
                due = renewed + CONSENT_SECONDS * (0.8 + 0.4 * jitter())
                unanswered = 0
                continue
            unanswered = unanswered + 1 if pulse.at < asked else 0
            silent = clock() - pulse.at
            gone = unanswered >= QUESTIONS and silent >= patience - ANSWER_SECONDS
            if gone or clock() - renewed > CONSENT_EXPIRES:
                lost(f"the far end has been silent for {silent:.1f} s")
                connection._query_consent_task = None
                await connection.close()
                return

    connection.query_consent = watch


async def end_consent(dtls: RTCDtlsTransport) -> None:
    """End the asking for consent, which aioice begins even if the connection was closed while it was made."""
    task = getattr(getattr(dtls.transport, "_connection", None), "_query_consent_task", None)
    if isinstance(task, asyncio.Task) and not task.done():
        task.cancel()
        await asyncio.wait({task})


async def _answers(connection: Any) -> bool:
    """Ask the far end once over the nominated pair (RFC 7675 section 5.1); wait half a second."""
    for pair in list(connection._nominated.values()):
        request = connection.build_request(pair, nominate=False)
        key = connection.remote_password.encode()
        try:
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
        except (aioice.stun.TransactionError, OSError):
            continue
        return True
    return False


def is_relayed(dtls: RTCDtlsTransport) -> bool:
    """Say whether the nominated pair goes through a TURN server of ours (RFC 8445 section 5.1.1.2)."""
    pairs = _touch(_touch(dtls.transport, "_connection"), "_nominated") or {}
    return any(pair.local_candidate.type == "relay" for pair in pairs.values())


async def turn_trouble(dtls: RTCDtlsTransport, took: float) -> str:
    """Say why a TURN server gave no address, which aioice keeps to itself, by asking it once more.

    Args:
        dtls: Whose ICE connection has gathered.
        took: How many seconds that was; if they all went by, the server is not asked again.
    """
    connection = _touch(dtls.transport, "_connection")
    server = getattr(connection, "turn_server", None)
    if server is None:
        return "no TURN server can be used"
    over = "tls" if connection.turn_ssl else connection.turn_transport
    name = f"the TURN server {server[0]}:{server[1]}/{over}"
    if took >= GATHER_SECONDS:
        return f"{name} did not answer"
    try:
        async with asyncio.timeout(TURN_SECONDS):
            allocated, _ = await aioice.turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=server,
                username=connection.turn_username,
                password=connection.turn_password,
                ssl=connection.turn_ssl or None,
                transport=connection.turn_transport,
            )
    except aioice.stun.TransactionFailed as error:
        return f"{name} refused us with error {error.response.error_code} (RFC 8656 section 18)"
    except (TimeoutError, aioice.stun.TransactionTimeout):
        return f"{name} did not answer"
    except ssl.SSLError:
        return f"{name} has no certificate that we trust"
    except FOREIGN as error:
        return f"{name} cannot be reached ({type(error).__name__})"
    allocated.close()
    return f"{name} gave one at the second attempt"


def hasten_turn_deletion(dtls: RTCDtlsTransport) -> None:
    """Let a close not wait for a TURN server that is gone: the deletion would be repeated for a minute.

    An allocation that is not deleted ends by itself (RFC 8656 section 7.2).
    """
    for protocol in _touch(dtls.transport, "_connection")._protocols:
        client = getattr(protocol.transport, "_TurnTransport__inner_protocol", None)
        if client is None:
            continue

        async def delete(original: Callable[[], Awaitable[None]] = client.delete) -> None:
            try:
                async with asyncio.timeout(DELETE_SECONDS):
                    await original()
            except TimeoutError:
                _log.info("turn_allocation_left")

        client.delete = delete


def leave_encoded(receiver: RTCRtpReceiver) -> None:
    """End aiortc's decoder thread as soon as the receiver starts: packets are taken encoded."""
    original = receiver.receive

    async def receive(parameters: Any) -> None:
        await original(parameters)
        stop = _touch(receiver, "_RTCRtpReceiver__stop_decoder")
        if stop is not None:
            stop()

    receiver.receive = receive  # type: ignore[method-assign]


def stream_statistics(receiver: RTCRtpReceiver) -> dict[int, Any]:
    """Give the table from which aiortc makes its receiver reports (RFC 3550 section 6.4.2)."""
    found = _touch(receiver, "_RTCRtpReceiver__remote_streams")
    return found if isinstance(found, dict) else {}


def source_of(sender: RTCRtpSender) -> int:
    """Give the synchronisation source of a sender; 0 if this version hides it."""
    found = _touch(sender, "_ssrc")
    return found if isinstance(found, int) else 0


def ask_ourselves(receiver: RTCRtpReceiver) -> Callable[[int], Awaitable[None]] | None:
    """Take over the asking for key frames from a receiver of video, which does so without bounds.

    Returns:
        What sends a picture loss indication (RFC 4585 section 6.3.1) about a source; None if this version
        cannot.
    """
    original: Callable[[int], Awaitable[None]] | None = _touch(receiver, "_send_rtcp_pli")
    if original is None:
        return None

    async def nobody(media_ssrc: int) -> None:
        """We know better what is missing."""

    receiver._send_rtcp_pli = nobody  # type: ignore[method-assign]
    return original


def router(dtls: RTCDtlsTransport) -> Any:
    """Give the object that assigns packets to receivers; None if this version has none."""
    return _touch(dtls, "_rtp_router")


def read_extensions(dtls: RTCDtlsTransport, parameters: Any) -> None:
    """Let header extensions be read before a receiver is registered, so that the first packet counts."""
    extensions = _touch(dtls, "_rtp_header_extensions_map")
    if extensions is not None:
        extensions.configure(parameters)
