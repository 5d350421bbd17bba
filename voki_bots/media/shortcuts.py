"""The private names of aiortc, aioice, pylibsrtp and asyncio that the fast receive paths lean on.

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


def misfit(dtls: Any) -> str | None:
    """Say why this transport's datagrams cannot be taken by us; None if they can."""
    for package, (first, beyond) in KNOWN.items():
        version = tuple(int(n) for n in re.findall(r"\d+", metadata.version(package))[:2])
        if not first <= version < beyond:
            return f"{package} {metadata.version(package)} is not known"
    connection = getattr(dtls.transport, "_connection", None)
    if not isinstance(getattr(connection, "_nominated", None), dict):
        return "the ICE connection has no nominated pairs"
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
