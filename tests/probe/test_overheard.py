"""What is overheard: everything that a channel says and is told, once, and the channel goes on as before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from voki_bots.bots.account import Credentials
from voki_bots.probe.accounts import OverheardAccount
from voki_bots.probe.overheard import Log
from voki_bots.testing.sim import Sim


@pytest.mark.looptime
async def test_waiting_ends_with_its_limit() -> None:
    """False says that it was not in time."""
    log = Log(asyncio.get_running_loop().time)
    asyncio.get_running_loop().call_later(1.0, log.note, "came", "call_ended")
    assert await log.wait(lambda: log.find("came"), 2.0)
    assert not await log.wait(lambda: log.find("closed"), 2.0)
    assert log.now == pytest.approx(3.0, abs=0.1)


def test_words_are_found_by_kind_event_and_time() -> None:
    """And descriptions by their type."""
    now = [1.0]
    log = Log(lambda: now[0])
    log.note("sent", "signal", {"type": "offer"})
    now[0] = 2.0
    log.note("came", "signal", {"type": "answer"})
    log.note("came", "mute", "no map")
    assert [word.event for word in log.find("came")] == ["signal", "mute"]
    assert [word.at for word in log.signals("came", "answer", since=2.0)] == [2.0]
    assert (log.signals("came", "offer"), log.find("came", "mute")[0].body) == ([], {})


@pytest.mark.journey
async def test_a_channel_that_is_overheard_is_a_channel(sim: Sim) -> None:
    """What is joined, sent and heard is kept, and reaches whom it should."""
    credentials: Credentials = await sim.user()
    call = await sim.call({"role": "attendant", "tone": 440, "joins": "now"}, switches={"snapshot": True})
    log = Log(asyncio.get_running_loop().time)
    async with OverheardAccount(credentials, log) as account:
        channel = account.channel(call.call.topic)
        response: Any = await channel.join()
        reply = await channel.push("mute", {"type": "audio", "muted": True})
        channel.send("mute", {"type": "video", "muted": True})
        await call.end()
        async with asyncio.timeout(5.0):
            async for _ in channel:
                if log.find("came", "call_ended"):
                    break
        assert (channel.topic, channel.joined, channel.ended) == (call.call.topic, True, False)
        await channel.leave()
    assert (log.find("join")[0].payload, reply.status) == (response, "ok")
    assert [word.body["type"] for word in log.find("sent", "mute")] == ["audio", "video"]
