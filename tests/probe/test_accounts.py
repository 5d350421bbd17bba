"""As whom a probe is in its call."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from voki_bots.bots.account import Credentials
from voki_bots.probe.accounts import Guest, _OneToken
from voki_bots.probe.overheard import Log
from voki_bots.signalling.rest import Admission, Rest

HERE = Credentials("https://voki.example", "acme", "ana@acme.example", lambda: "")


async def guest(socket_url: str | None) -> str:
    """Where a customer's token goes, if the platform names this address."""
    log = Log(asyncio.get_running_loop().time)
    return Guest(HERE, Admission("c1", "token", socket_url), log).credentials.websocket()


@pytest.mark.parametrize(
    ("named", "used"),
    [
        (None, "wss://voki.example/socket/websocket"),
        ("wss://voki.example/live/websocket", "wss://voki.example/live/websocket"),
        ("wss://elsewhere.example/socket/websocket", "wss://voki.example/socket/websocket"),
        ("wss://voki.example:8443/socket/websocket", "wss://voki.example/socket/websocket"),
        ("ws://voki.example/socket/websocket", "wss://voki.example/socket/websocket"),
    ],
)
async def test_a_customers_token_goes_to_the_platform_alone(named: str | None, used: str) -> None:
    """Another host, another port or a plain socket that the platform names is not used."""
    assert await guest(named) == used


@pytest.mark.parametrize(
    ("token", "user"),
    [
        (jwt.encode({"sub": "c7"}, "k" * 32, algorithm="HS256"), "c7"),
        (jwt.encode({"role": "customer"}, "k" * 32, algorithm="HS256"), ""),
        ("opaque", ""),
    ],
)
async def test_a_customer_is_who_the_token_says(token: str, user: str) -> None:
    """Or nobody, where it does not say."""
    async with Rest("https://voki.example", "acme") as rest:
        assert _OneToken(rest, token).identity.user_id == user


def test_what_an_access_link_gives_is_shown_without_its_token() -> None:
    """It is as good as a password while it lives."""
    assert "secret" not in repr(Admission("c1", "secret"))
