"""TURN credentials: whose servers are used, in which order, and until when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.errors import AuthenticationError, ConnectionLostError
from voki_bots.signalling.rest import TurnCredentials
from voki_bots.signalling.turn import LIFE, PAUSE, Relay, TurnSource, relay, renewal, usable

NOW = 1_800_000_000.0
HOST = "voki.example"
UDP, TCP, TLS = (
    f"turn:{HOST}:3478?transport=udp",
    f"turn:{HOST}:3478?transport=tcp",
    f"turns:{HOST}:5349?transport=tcp",
)


@pytest.mark.parametrize(
    "url",
    [
        "http://voki.example/",
        "turn:evil.example:3478",
        "turn:voki.example.evil.example",
        "turn:notvoki.example",
        "turn:voki.example:99999",
        "turn:voki.example:0",
        "turn:voki.example?transport=sctp",
        "turn:user@voki.example",
        "turn:voki.example\nevil",
        "",
    ],
)
def test_other_schemes_and_hosts_are_refused(url: str) -> None:
    """Media go to nobody but the platform."""
    assert usable([url], [HOST]) == []


@pytest.mark.parametrize("url", [UDP, TLS, f"TURN:{HOST.upper()}", f"turn:relay.{HOST}", f"stun:{HOST}"])
def test_the_platforms_own_servers_are_used(url: str) -> None:
    """By its name, or one below it."""
    assert usable([url], [HOST]) == [url]


def test_another_host_may_be_allowed() -> None:
    """By an operator."""
    assert usable(["turn:relay.other.example"], [HOST, "relay.other.example"]) == ["turn:relay.other.example"]


def test_an_ipv6_address_is_read() -> None:
    """In brackets, as RFC 3986 wants it."""
    assert usable(["turn:[::1]:3478"], ["::1"]) == ["turn:[::1]:3478"]


def test_udp_comes_before_tcp_before_tls() -> None:
    """Whatever the platform's order."""
    assert usable([TLS, TCP, UDP], [HOST]) == [UDP, TCP, TLS]


def test_each_attempt_takes_the_next_server() -> None:
    """And begins anew after the last."""
    given = TurnCredentials((UDP, TCP, TLS))
    assert [relay(given, [HOST], attempt).turn for attempt in range(4)] == [UDP, TCP, TLS, UDP]


@pytest.mark.parametrize(
    ("urls", "stun"),
    [
        ((UDP, TCP), f"stun:{HOST}:3478"),
        ((f"turn:{HOST}",), f"stun:{HOST}:3478"),
        ((UDP, f"stun:{HOST}:19302"), f"stun:{HOST}:19302"),
        ((TCP,), None),
        ((), None),
    ],
)
def test_a_stun_server_is_derived(urls: tuple[str, ...], stun: str | None) -> None:
    """From a TURN server on UDP, unless the platform names one."""
    assert relay(TurnCredentials(urls), [HOST], 0).stun == stun


@pytest.mark.parametrize(
    ("ttl", "expires", "half"),
    [
        (86_400.0, None, 43_200.0),
        (None, NOW + 1000.0, 500.0),
        (86_400.0, NOW + 1000.0, 500.0),
        (200.0, NOW + 1000.0, 100.0),
        (86_400.0, NOW - 5.0, 43_200.0),
        (None, NOW - 5.0, LIFE / 2),
        (None, None, LIFE / 2),
    ],
)
def test_credentials_are_renewed_at_half_life(ttl: float | None, expires: float | None, half: float) -> None:
    """By ttl and by the username, whichever ends first."""
    assert renewal(TurnCredentials((), ttl=ttl, expires=expires), NOW) == NOW + half


class Platform:
    """Gives credentials that live for 100 s, or refuses."""

    def __init__(self) -> None:
        self.now = NOW
        self.asked: list[str] = []
        self.refuses: set[str] = set()

    def asks(self, name: str) -> TurnCredentials:
        self.asked.append(name)
        if name in self.refuses:
            raise AuthenticationError("no") if name == "own" else ConnectionLostError("no")
        return TurnCredentials((UDP,), "1:u", "secret", ttl=100.0)

    async def own(self) -> TurnCredentials:
        return self.asks("own")

    async def public(self) -> TurnCredentials:
        return self.asks("public")

    def source(self) -> TurnSource:
        return TurnSource(self.own, self.public, hosts=[HOST], wall=lambda: self.now)


async def test_many_calls_at_once_ask_once() -> None:
    """Credentials are shared by all calls of the account."""
    platform = Platform()
    source = platform.source()
    await asyncio.gather(*(source.relay(n) for n in range(20)))
    assert platform.asked == ["own"]


async def test_they_are_fetched_anew_after_half_their_life() -> None:
    """And not before."""
    platform = Platform()
    source = platform.source()
    for platform.now in (NOW, NOW + 49.0, NOW + 50.0):
        await source.relay()
    assert platform.asked == ["own", "own"]


async def test_the_public_endpoint_helps_where_the_other_refuses() -> None:
    """It needs no token."""
    platform = Platform()
    platform.refuses = {"own"}
    assert ((await platform.source().relay()).turn, platform.asked) == (UDP, ["own", "public"])


async def test_without_any_media_goes_directly_and_it_is_asked_again_later() -> None:
    """Thirty requests a minute are allowed for each address."""
    platform = Platform()
    platform.refuses = {"own", "public"}
    source = platform.source()
    for platform.now in (NOW, NOW + PAUSE - 1.0, NOW + PAUSE):
        assert await source.relay() == Relay()
    assert len(platform.asked) == 4


async def test_the_credential_is_in_no_repr() -> None:
    """It is a password."""
    assert "secret" not in repr(await Platform().source().relay())


@given(st.lists(st.text(max_size=60), max_size=20), st.integers(0, 9))
def test_no_address_raises(urls: list[str], attempt: int) -> None:
    """Whatever the platform calls a server."""
    relay(TurnCredentials(tuple(urls)), [HOST], attempt)
