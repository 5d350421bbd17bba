"""The private names of aiortc, aioice, pylibsrtp and asyncio that the fast paths lean on, in and out.

As in `quirks.py`, each is touched on one instance alone. What is touched is checked exactly beforehand:
versions, attributes and signatures. Where something does not fit, that is said, and a slower path is taken.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import struct
import sys
from asyncio import selector_events
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pylibsrtp

from voki_bots.media.receive import Room

KNOWN = {"aiortc": ((1, 16), (2,)), "aioice": ((0, 13), (1,)), "pylibsrtp": ((1, 0), (2,))}
"""The versions that this was written against: from, and below."""

_SIGNATURES = {
    "data_received": ("data", "component"),
    "datagram_received": ("data", "addr"),
}
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_OLD = 0.5
"""Seconds that a datagram can have waited for us; anything else means that the wall clock was set."""


def _strange(dtls: Any) -> str | None:
    """Say what neither way can do without; None if all of it is there."""
    for package, (first, beyond) in KNOWN.items():
        version = tuple(int(n) for n in re.findall(r"\d+", metadata.version(package))[:2])
        if not first <= version < beyond:
            return f"{package} {metadata.version(package)} is not known"
    connection = getattr(dtls.transport, "_connection", None)
    if not isinstance(getattr(connection, "_nominated", None), dict):
        return "the ICE connection has no nominated pairs"
    return None


def misfit(dtls: Any) -> str | None:
    """Say why this transport's datagrams cannot be taken by us; None if they can."""
    if (why := _strange(dtls)) is not None:
        return why
    connection = dtls.transport._connection
    protocols = getattr(connection, "_protocols", None)
    if not isinstance(protocols, list):
        return "the ICE connection has no protocols"
    for owner in (connection, *protocols):
        for name, expected in _SIGNATURES.items():
            method = getattr(type(owner), name, None)
            if method is not None and tuple(inspect.signature(method).parameters)[1:] != expected:
                return f"{type(owner).__name__}.{name} has other parameters"
    if not callable(getattr(type(connection), "data_received", None)):
        return "the ICE connection has no data_received"
    if not hasattr(getattr(dtls, "_rx_srtp", None), "_srtp"):
        return "the transport has no SRTP session"
    if not callable(getattr(pylibsrtp._binding.lib, "srtp_unprotect", None)):
        return "pylibsrtp has no srtp_unprotect"
    return None


def room() -> Room:
    """Give memory that libsrtp can work in."""
    return Room(pylibsrtp._binding.ffi)


def decryption(dtls: Any) -> tuple[Callable[[Any, Any, Any], int], Any, object]:
    """Give libsrtp's srtp_unprotect (RFC 3711 section 3.3), its first argument, and what owns that.

    It is pylibsrtp's `Session.unprotect` without its copies and checks.
    """
    session = dtls._rx_srtp
    return pylibsrtp._binding.lib.srtp_unprotect, session._srtp[0], session


def hook(dtls: Any, received: Callable[[bytes, int], None]) -> Callable[[bytes, int], None]:
    """Let `received` have the datagrams of a connection that are not STUN; give what had them before.

    Media does not go through the STUN parser first any more, where asyncio reads the socket.
    """
    connection = dtls.transport._connection
    stock: Callable[[bytes, int], None] = connection.data_received
    connection.data_received = received
    for protocol in connection._protocols:
        if _is_direct(protocol):
            _skip_stun(protocol, received)
    return stock


def _skip_stun(protocol: Any, received: Callable[[bytes, int], None]) -> None:
    parse, component = protocol.datagram_received, protocol.local_candidate.component

    def datagram_received(data: bytes, address: Any) -> None:
        # The first byte tells them apart (RFC 7983 section 7).
        if data and 127 < data[0] < 192:
            received(data, component)
        else:
            parse(data, address)

    protocol.datagram_received = datagram_received


def _is_direct(protocol: Any) -> bool:
    transport = getattr(protocol, "transport", None)
    return type(transport) is selector_events._SelectorDatagramTransport and isinstance(  # type: ignore[attr-defined]
        getattr(transport, "_sock", None), socket.socket
    )


def loop_misfit(loop: asyncio.AbstractEventLoop) -> str | None:
    """Say why a socket cannot be taken from this event loop; None if it can."""
    if not isinstance(loop, selector_events.BaseSelectorEventLoop):
        return f"{type(loop).__module__}.{type(loop).__name__} is not asyncio's selector loop"
    if tuple(inspect.signature(type(loop)._remove_reader).parameters) != ("self", "fd"):  # type: ignore[attr-defined]
        return "the event loop has no _remove_reader"
    return None


def direct_sockets(dtls: Any, room: Room) -> list[DirectSocket]:
    """Give all sockets of a connection whose nominated pair has one; none if that is relayed, or TCP.

    All, for the far end may send to another one than that from which we send.
    """
    connection = dtls.transport._connection
    if not _is_direct(getattr(connection._nominated.get(1), "protocol", None)):
        return []
    return [DirectSocket(protocol, room) for protocol in connection._protocols if _is_direct(protocol)]


class DirectSocket:
    """A UDP socket that is read by us and closed by asyncio.

    Args:
        protocol: aioice's, to which STUN and whatever else goes.
        room: Where datagrams are read.
    """

    def __init__(self, protocol: Any, room: Room) -> None:
        self._protocol = protocol
        self._room = room
        self._socket: socket.socket = protocol.transport._sock
        self.number = self._socket.fileno()

    def release(self, loop: Any, closed: Callable[[], None]) -> None:
        """Take it from the event loop; `closed` is called before asyncio closes it."""
        loop._remove_reader(self.number)
        lost = self._protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            closed()
            lost(error)

        self._protocol.connection_lost = connection_lost

    def reader(self, take: Callable[[int, float], bool]) -> Callable[[float, float], None]:
        """Give what reads one datagram, which must be there.

        It arrived when the kernel says so (SO_TIMESTAMPNS), not when we came by: jitter stays true.

        Args:
            take: Takes what is in the room, by size and arrival; what it does not take goes to the protocol.

        Returns:
            A function of the time of arrivals, in seconds, and of how far that is ahead of the wall clock,
            by which the kernel stamps.
        """
        protocol, read, room = self._protocol, self._socket.recvmsg_into, self._room.buffer
        rooms, parse, space = [room], _TIMESPEC.unpack, _stamp(self._socket)
        closing = protocol.transport.is_closing

        def read_one(now: float, ahead: float) -> None:
            if closing():
                return
            try:
                size, stamps, _, address = read(rooms, space)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                protocol.error_received(error)
                return
            if stamps:
                seconds, nanoseconds = parse(stamps[0][2])
                arrival = seconds + nanoseconds * 1e-9 + ahead
                if not -_OLD < arrival - now < _OLD:
                    arrival = now
            else:
                arrival = now
            if not take(size, arrival):
                protocol.datagram_received(room[0:size], address)

        return read_one


def _stamp(sock: socket.socket) -> int:
    """Have the kernel stamp what comes; give the room that a stamp needs, 0 if there are none."""
    if sys.platform != "linux":
        return 0
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return 0
    return socket.CMSG_SPACE(_TIMESPEC.size)


_COUNTERS = ("ntp_timestamp", "rtp_timestamp", "octet_count", "packet_count")


def send_misfit(sender: Any) -> str | None:
    """Say why packets cannot be sent by us in place of one of aiortc's senders; None if they can."""
    if (why := _strange(sender.transport)) is not None:
        return why
    missing = [name for name in _COUNTERS if not isinstance(getattr(sender, _hidden(name), None), int)]
    if missing:
        return f"the sender has no {missing[0]}"
    if not hasattr(sender, "_enabled"):
        return "the sender cannot be disabled"
    resend = getattr(type(sender), "_retransmit", None)
    if resend is None or tuple(inspect.signature(resend).parameters)[1:] != ("sequence_number",):
        return "the sender has no _retransmit"
    if not hasattr(getattr(sender.transport, "_tx_srtp", None), "_srtp"):
        return "the transport has no SRTP session to send by"
    if not callable(getattr(pylibsrtp._binding.lib, "srtp_protect", None)):
        return "pylibsrtp has no srtp_protect"
    return None


def _hidden(name: str) -> str:
    return f"_RTCRtpSender__{name}"


class Wire:
    """What is behind one of aiortc's senders: encryption, the nominated pair, and the counters of RTCP.

    Args:
        sender: One that `send_misfit` finds nothing wrong with, and whose transport is connected.

    Attributes:
        room: Where packets are made and encrypted.
    """

    def __init__(self, sender: Any) -> None:
        self.room = room()
        self._sender = sender
        self._dtls = sender.transport
        self._nominated: dict[int, Any] = self._dtls.transport._connection._nominated
        self._session = self._dtls._tx_srtp
        self._connected = True

    @property
    def open(self) -> bool:
        """Whether anything may be sent: the far end may have put the line on hold."""
        return self._connected and bool(self._sender._enabled)

    def encryption(self) -> Callable[[int], bytes | None]:
        """Give what encrypts the packet of a size in the room (RFC 3711 section 3.3); None if that fails."""
        protect, state = pylibsrtp._binding.lib.srtp_protect, self._session._srtp[0]
        cell, length, buffer = self.room.cell, self.room.length, self.room.buffer

        def encrypt(size: int) -> bytes | None:
            length[0] = size
            return None if protect(state, cell, length) else buffer[0 : length[0]]

        return encrypt

    def put(self, packet: bytes) -> None:
        """Send an encrypted packet over whatever pair is nominated now, relayed ones too."""
        if (pair := self._nominated.get(1)) is not None:
            pair.protocol.transport.sendto(packet, pair.remote_addr)

    def account(self, ntp: int, timestamp: int, octets: int) -> None:
        """Let the next sender report tell of a packet (RFC 3550 section 6.4.1)."""
        sender = self._sender
        sender._RTCRtpSender__ntp_timestamp = ntp
        sender._RTCRtpSender__rtp_timestamp = timestamp
        sender._RTCRtpSender__octet_count += octets
        sender._RTCRtpSender__packet_count += 1

    def on_missing(self, again: Callable[[int], None]) -> None:
        """Let `again` have the sequence numbers that the far end asks for (RFC 4585 section 6.2.1)."""

        async def retransmit(sequence_number: int) -> None:
            again(sequence_number)

        self._sender._retransmit = retransmit

    def on_closed(self, closed: Callable[[], None]) -> None:
        """Call `closed` when the transport is connected no more."""

        def changed() -> None:
            if self._dtls.state != "connected":
                self._connected = False
                closed()

        self._dtls.on("statechange", changed)
