"""A call's leg: which relay its connections go through."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from voki_bots.bots.gate import Gate
from voki_bots.bots.leg import Leg
from voki_bots.bots.roster import Roster
from voki_bots.calls import Call, CallEvent
from voki_bots.media.ice import IceServer
from voki_bots.media.peer import Peer


class Platform:
    """An account that remembers which relay was asked for."""

    tenant = "acme"
    credentials = SimpleNamespace(loopback=True, relay_only=False, receive_path="receiver")

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def ice_servers(self, attempt: int = 0) -> list[IceServer]:
        self.asked.append(attempt)
        return []


class Room:
    """A session that nobody listens to."""

    bot = "minutes"
    speaks = False
    video = False

    def __init__(self) -> None:
        self.gate = Gate()
        self.roster = Roster(Call("acme", "c1"), "u1")

    def publish(self, event: CallEvent) -> None: ...
    def send(self, event: str, payload: object) -> None: ...
    def fell_back(self, what: str) -> None: ...


@pytest.mark.parametrize(("relayed", "then"), [(True, 1), (False, 0)])
async def test_the_successor_of_a_connection_that_died_over_a_relay_takes_the_next(
    relayed: bool, then: int
) -> None:
    """One that went directly says nothing about the relay."""
    platform = Platform()
    leg = Leg(
        cast(Any, Room()),
        cast(Any, platform),
        zero=0.0,
        segment=0,
        clock=asyncio.get_running_loop().time,
    )
    dead = cast(Peer, SimpleNamespace(relayed=relayed, path="receiver", heard=0.0))
    await leg.make_peer(0)
    leg.connected(0, dead)
    leg.lost(0, "the far end has been silent for 2.3 s", dead=dead)
    await leg.make_peer(1)
    assert platform.asked == [0, then]
