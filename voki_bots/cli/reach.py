"""Whether a host answers: by TCP, and by STUN over UDP as ICE would ask it."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
import struct
from dataclasses import dataclass

from voki_bots.errors import ConnectionLostError

_MAGIC = 0x2112A442
_BINDING_REQUEST, _BINDING_RESPONSE = 0x0001, 0x0101
_TRIES, _BETWEEN = 3, 0.7

_ADDRESS = re.compile(
    r"(?P<scheme>turns?|stuns?):(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:?\[\]]+)"
    r"(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A STUN or TURN server, as its address says (RFC 7064, RFC 7065)."""

    host: str
    port: int
    transport: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Server | None:
        """Read ``turn:host:port?transport=udp``; None if it is no such address."""
        found = _ADDRESS.fullmatch(url)
        if found is None:
            return None
        tls = found["scheme"].endswith("s")
        port = int(found["port"] or (5349 if tls else 3478))
        if not 0 < port < 65536:
            return None
        return cls(found["host"].strip("[]"), port, found["transport"] or ("tcp" if tls else "udp"), tls)


async def reach(server: Server, timeout: float) -> None:
    """Get an answer from a STUN or TURN server.

    Raises:
        ConnectionLostError: If there is none within `timeout` seconds.
    """
    if server.transport == "tcp":
        await connect(server.host, server.port, timeout=timeout, tls=server.tls)
    elif not server.tls:  # DTLS is not tried: no browser offers it, and aioice neither
        await _binding(server.host, server.port, timeout)


async def connect(host: str, port: int, *, timeout: float, tls: bool = False) -> None:
    """Open a TCP (or TLS) connection and close it again.

    Raises:
        ConnectionLostError: If it does not open within `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            secure = ssl.create_default_context() if tls else None
            _, writer = await asyncio.open_connection(host, port, ssl=secure)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        raise ConnectionLostError(f"{host} port {port} does not answer within {timeout:g} s") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ConnectionLostError(f"{host} port {port} cannot be reached: {why}") from None


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, transaction: bytes) -> None:
        self._transaction = transaction
        self.answered = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Only the response to our own request counts."""
        if len(data) < 20 or self.answered.done():
            return
        kind, _, magic = struct.unpack_from("!HHI", data)
        if (kind, magic, data[8:20]) == (_BINDING_RESPONSE, _MAGIC, self._transaction):
            self.answered.set_result(None)

    def error_received(self, exc: Exception) -> None:
        """An ICMP message says that nobody listens there."""
        if not self.answered.done():
            self.answered.set_exception(exc)


async def _binding(host: str, port: int, timeout: float) -> None:
    """Send a STUN binding request, a few times, until it is answered (RFC 8489 section 6)."""
    transaction = secrets.token_bytes(12)
    request = struct.pack("!HHI", _BINDING_REQUEST, 0, _MAGIC) + transaction
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            transport, asking = await loop.create_datagram_endpoint(
                lambda: _Asking(transaction), remote_addr=(host, port)
            )
            try:
                for _ in range(_TRIES):
                    transport.sendto(request)
                    done, _pending = await asyncio.wait({asking.answered}, timeout=_BETWEEN)
                    if done:
                        break
                await asking.answered
            finally:
                transport.close()
    except TimeoutError:
        raise ConnectionLostError(f"{host} port {port} does not answer over UDP") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ConnectionLostError(f"{host} port {port} cannot be reached over UDP: {why}") from None
