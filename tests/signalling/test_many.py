"""A thousand channels in one process, and a server that restarts under them."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from voki_bots.errors import ConnectionLostError
from voki_bots.signalling.membership import Reply
from voki_bots.signalling.pool import SocketPool
from voki_bots.signalling.socket import Channel, Socket

CHANNELS, SOCKETS = 1000, 20
MUTE = {"type": "audio", "muted": True}


async def token(fresh: bool) -> str:
    return "t"


async def test_a_thousand_channels_on_twenty_sockets_survive_a_restart(far: Any) -> None:
    """All rejoin within the back-off, and every push comes out: answered, or failed at once."""
    loop, rng = asyncio.get_running_loop(), Random(1)
    async with SocketPool(lambda: Socket(far.url, token, random=rng, timeout=30.0)) as sockets:
        channels = [sockets.channel(f"call:{number}") for number in range(CHANNELS)]
        await asyncio.gather(*(channel.join() for channel in channels))
        assert len(sockets.sockets) == SOCKETS

        flying = [asyncio.create_task(channel.push("mute", MUTE)) for channel in channels]
        await asyncio.sleep(0)
        await far.stop()
        out = await asyncio.gather(*flying, return_exceptions=True)
        assert all(isinstance(one, Reply | ConnectionLostError) for one in out)

        far.answer = lambda message: ("ok", {"n": message[2]})
        waiting = [asyncio.create_task(pushed(channel)) for channel in channels]
        await asyncio.sleep(0.5)  # how long the server takes to restart
        await far.start()
        began = loop.time()
        replies = await asyncio.gather(*waiting)
        took = loop.time() - began
    assert [reply.response for reply in replies] == [{"n": f"call:{n}"} for n in range(CHANNELS)]
    # one attempt went astray while the server was down: the next comes after 1 s and a fifth
    assert took < 1.2 + 2.0


async def pushed(channel: Channel) -> Reply:
    """What a push that waits for the rejoin comes to; the far end says to which topic it came."""
    while channel.joined:
        await asyncio.sleep(0.01)
    return await channel.push("mute", MUTE)
