"""Asking hosts whether they are there."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from voki_bots.cli.reach import Server, connect, reach
from voki_bots.errors import ConnectionLostError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("turn:t.example", Server("t.example", 3478, "udp", False)),
        ("turn:t.example:80?transport=tcp", Server("t.example", 80, "tcp", False)),
        ("turns:t.example", Server("t.example", 5349, "tcp", True)),
        ("stun:[::1]:99", Server("::1", 99, "udp", False)),
        ("http://t.example", None),
        ("turn:t.example:0", None),
        ("turn:t.example:70000", None),
        ("turn:a b", None),
        ("turn:t.example\n", None),
    ],
)
def test_addresses_of_servers(url: str, expected: Server | None) -> None:
    """RFC 7064 and 7065; anything else is none."""
    assert Server.parse(url) == expected


class Responder(asyncio.DatagramProtocol):
    """Answers binding requests; with `wrong`, as if they were somebody else's."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transaction = bytes(12) if self.wrong else data[8:20]
        self.transport.sendto(struct.pack("!HHI", 0x0101, 0, 0x2112A442) + transaction, addr)


@pytest.fixture(params=[False])
async def stun(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Responder(request.param), local_addr=("127.0.0.1", 0)
    )
    yield Server("127.0.0.1", transport.get_extra_info("sockname")[1], "udp", False)
    transport.close()


async def test_a_stun_server_that_answers_is_reached(stun: Server) -> None:
    """A binding response to our own request is enough."""
    await reach(stun, 2.0)


@pytest.mark.parametrize("stun", [True], indirect=True)
async def test_an_answer_to_somebody_else_does_not_count(stun: Server) -> None:
    """The transaction must be ours."""
    with pytest.raises(ConnectionLostError, match="does not answer over UDP"):
        await reach(stun, 0.2)


async def test_a_closed_udp_port_is_told() -> None:
    """An ICMP message ends the waiting."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionLostError, match="UDP"):
        await reach(Server("127.0.0.1", port, "udp", False), 2.0)


async def test_a_closed_tcp_port_is_told() -> None:
    """Host and port are named."""
    with pytest.raises(ConnectionLostError, match="127.0.0.1 port 1 cannot be reached"):
        await connect("127.0.0.1", 1, timeout=2.0)
