"""What the network and the platform do to a call, and what is left of the recording: all of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.journeys.conftest import journal, likeness, sidecar
from voki_bots import Bot, MediaLost, SignallingLost, SignallingRestored
from voki_bots.bots.session import CallSession
from voki_bots.testing.sim import Sim

PACKETS = 150


async def happened(session: CallSession, event: type[object], timeout: float = 15.0) -> object:
    """Wait for an event of the session; call it before what causes the event."""
    async with asyncio.timeout(timeout):
        async for seen in session.bus.events("test"):
            if isinstance(seen, event):
                return seen
    raise AssertionError(f"the call ended without {event.__name__}")


@pytest.mark.parametrize("fault", ["drop_socket", "expire_token", "crash_channel"])
async def test_losing_the_channel_loses_no_audio(sim: Sim, fault: str) -> None:
    """The socket drops, the token expires, the channel crashes: it is joined again and no audio is lost."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
        lost = asyncio.create_task(happened(session, SignallingLost))
        back = asyncio.create_task(happened(session, SignallingRestored))
        await asyncio.sleep(0)
        await call.fault(fault)
        await lost
        await back
        await call.heard_by_bots(3 * PACKETS)
    like = await likeness(call, session.directory)
    gaps = [gap for track in sidecar(session.directory)["tracks"] for gap in track["gaps"]]
    missing = sum(gap["end"] - gap["start"] for gap in gaps if gap["cause"] != "late_join")
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
    assert missing < 0.1  # what was on its way to us when we left


async def test_dead_ice_becomes_a_new_segment(sim: Sim) -> None:
    """ICE dies: within 5 s a new segment records on, the gap has its cause, the voices their owners."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
        lost = asyncio.create_task(happened(session, MediaLost))
        await asyncio.sleep(0)
        await call.fault("kill_ice")
        await lost
        await call.until(lambda _: len(session.pipeline.tracks) == 2, "both tracks in the new segment")
        await call.heard_by_bots(PACKETS)
    found = sidecar(session.directory)
    redials = [gap for track in found["tracks"] for gap in track["gaps"] if gap["cause"] == "redial"]
    assert [len(redials), found["invariant"]["ok"]] == [2, True]
    assert all(0.0 < gap["end"] - gap["start"] < 5.0 for gap in redials)
    assert sorted((t["id"].split(":")[0], t["role"]) for t in found["tracks"]) == [
        ("0", "attendant"),
        ("0", "customer"),
        ("1", "attendant"),
        ("1", "customer"),
    ]


async def test_frozen_media_are_dialled_again(sim: Sim) -> None:
    """The SFU stops forwarding while the connection stays up: the watchdog dials again."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
        lost = asyncio.create_task(happened(session, MediaLost))
        await asyncio.sleep(0)
        await call.fault("freeze_media")
        await lost
    assert any(
        line["type"] == "media_lost" and "no media" in line["cause"] for line in journal(session.directory)
    )


async def test_the_sfu_may_offer_first(sim: Sim) -> None:
    """An SFU that offers first, with an RSA certificate as Elixir's, is answered and recorded."""
    call = await sim.call(switches={"server_offers": True, "rsa_certificate": True})
    async with sim.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(PACKETS)
    like = await likeness(call, session.directory)
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
