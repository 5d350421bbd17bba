"""Several sockets of one user against a real websocket server: spread, and replaced before the token ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from voki_bots.errors import AuthenticationError
from voki_bots.signalling.pool import SocketPool
from voki_bots.signalling.socket import Channel, Closed, Errored, Joined, Received, Socket

QUICK: dict[str, Any] = {"backoff": (0.05, 0.1), "timeout": 1.0, "heartbeat": 30.0}


async def token(fresh: bool) -> str:
    return "t"


@asynccontextmanager
async def pool(url: str, *, capacity: int = 50, **options: Any) -> AsyncIterator[SocketPool]:
    """A pool whose first socket is connected."""

    def make() -> Socket:
        return Socket(url, options.get("token", token), random=Random(1), **{**QUICK, **options})

    async with SocketPool(make, capacity=capacity) as sockets:
        async with asyncio.timeout(5):
            await sockets.connected()
        yield sockets


async def joined(sockets: SocketPool, topic: str) -> Channel:
    channel = sockets.channel(topic)
    await channel.join()
    assert isinstance(await anext(channel), Joined)
    return channel


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def drained(channel: Channel) -> list[object]:
    """Leave, and give everything that was told meanwhile."""
    await channel.leave()
    return [event async for event in channel]


async def test_channels_are_spread_over_sockets(far: Any) -> None:
    """As many on one as are allowed, then the next."""
    async with pool(far.url, capacity=2) as sockets:
        for number in range(5):
            await joined(sockets, f"call:{number}")
        assert [len(socket.channels) for socket in sockets.sockets] == [2, 2, 1]


async def test_a_place_that_was_left_is_taken_again(far: Any) -> None:
    """Before another socket is opened."""
    async with pool(far.url, capacity=1) as sockets:
        await (await joined(sockets, "call:1")).leave()
        await joined(sockets, "call:2")
        assert len(sockets.sockets) == 1


async def test_renewing_ends_sockets_that_carry_nothing(far: Any) -> None:
    """But for the first, over which the next call comes."""
    async with pool(far.url, capacity=1) as sockets:
        channels = [await joined(sockets, f"call:{n}") for n in range(3)]
        for channel in channels:
            await channel.leave()
        await sockets.renew()
        await until(lambda: len(far.open) == 1)


async def test_a_queue_moves_without_a_gap(far: Any) -> None:
    """It is joined on the new socket before it is left on the old one, and its user is told nothing."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "queue:1")
        await sockets.renew()
        order = [message[3] for message in far.messages if message[2] == "queue:1"]
        assert (order, await drained(channel)) == (["phx_join", "phx_join", "phx_leave"], [Closed("left")])


async def test_no_event_is_lost_or_doubled_by_a_move(far: Any) -> None:
    """A department that talks all the while is heard once, in full, in order, through five moves."""
    async with pool(far.url) as sockets:
        channel, sent = await joined(sockets, "queue:1"), 0
        renewing = asyncio.create_task(_renew(sockets, 5))
        while not renewing.done():
            await far.broadcast("queue:1", "queue_update", {"queue_size": sent})
            sent += 1
            await asyncio.sleep(0)
        await renewing
        async with asyncio.timeout(5):
            told: list[object] = [await anext(channel) for _ in range(sent)]
        told += await drained(channel)
    assert sent > 20
    assert told[:-1] == [Received("queue_update", {"queue_size": number}) for number in range(sent)]


async def test_a_twin_that_comes_late_is_known(far: Any) -> None:
    """The new socket brings what the old one brought, when that has been left already."""
    event = json.dumps([None, None, "queue:1", "queue_update", {"queue_size": 1}])
    sending = set[asyncio.Task[None]]()

    def later(delay: float, socket: int, text: str) -> None:
        async def send() -> None:
            await asyncio.sleep(delay)
            await far.sockets[socket].send(text)

        sending.add(asyncio.create_task(send()))

    def answer(message: list[Any]) -> tuple[str, object] | None:
        if message[3] == "phx_join" and len(far.sent("phx_join")) == 2:
            later(0.0, 0, event)
        elif message[3] == "phx_leave" and len(far.sent("phx_leave")) == 1:
            later(0.03, 1, event)
        elif message[3] == "heartbeat":
            later(0.06, 1, json.dumps([None, message[1], "phoenix", "phx_reply", {"status": "ok"}]))
            return None
        return "ok", {}

    async with pool(far.url) as sockets:
        channel = await joined(sockets, "queue:1")
        far.answer = answer
        await sockets.renew()
        await asyncio.gather(*sending)
        told = await drained(channel)
    assert told == [Received("queue_update", {"queue_size": 1}), Closed("left")]


async def _renew(sockets: SocketPool, times: int) -> None:
    for _ in range(times):
        await sockets.renew()


@pytest.mark.parametrize("topic", ["call:1", "presence:1"])
async def test_what_may_not_be_twice_breaks_before_it_is_made(far: Any, topic: str) -> None:
    """The old connection is gone when the new one joins, and nothing was left on purpose."""
    async with pool(far.url) as sockets:
        channel, open_at_join = await joined(sockets, topic), list[int]()

        def answer(message: list[Any]) -> tuple[str, object]:
            if message[3] == "phx_join":
                open_at_join.append(len(far.open))
            return "ok", {}

        far.answer = answer
        await sockets.renew()
        told = [await anext(channel), await anext(channel)]
    assert (open_at_join, far.sent("phx_leave")) == ([1], [])
    assert [type(event) for event in told] == [Errored, Joined]


async def test_a_send_during_a_break_arrives(far: Any) -> None:
    """With the new join_ref, over the new socket."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "call:1")
        renewing = asyncio.create_task(sockets.renew())
        assert isinstance(await anext(channel), Errored)
        channel.send("signal", {"type": "offer"})
        await renewing
        await until(lambda: far.sent("signal"))
    assert far.sent("signal")[0][0] == far.sent("phx_join")[1][0]


async def test_a_push_during_a_break_gets_its_reply(far: Any) -> None:
    """Whoever waits is told by the new socket."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "call:1")
        renewing = asyncio.create_task(sockets.renew())
        assert isinstance(await anext(channel), Errored)
        async with asyncio.timeout(2):
            reply = await channel.push("mute", {"type": "audio", "muted": True})
        await renewing
    assert reply.status == "ok"


async def test_a_socket_that_cannot_be_replaced_stays(far: Any) -> None:
    """Better an old token for its last minutes than no connection."""
    async with pool(far.url) as sockets:
        channel, before = await joined(sockets, "call:1"), sockets.sockets
        far.statuses = [503]
        await sockets.renew()
        assert (sockets.sockets, channel.joined, len(far.open)) == (before, True, 1)


async def test_a_queue_that_cannot_join_anew_is_broken_and_made(far: Any) -> None:
    """It comes back as after a lost connection, and says so."""
    async with pool(far.url) as sockets:
        channel, refusals = await joined(sockets, "queue:1"), ["join crashed", "forbidden"]
        far.answer = lambda message: (
            ("error", {"reason": refusals.pop()}) if message[3] == "phx_join" and refusals[1:] else ("ok", {})
        )
        await sockets.renew()
        told = [await anext(channel), await anext(channel)]
    assert [type(event) for event in told] == [Errored, Joined]


async def test_leaving_while_moving_leaves_both(far: Any) -> None:
    """Nothing stays joined behind its user's back."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "queue:1")
        await asyncio.gather(sockets.renew(), channel.leave())
        await until(lambda: far.members["queue:1"] == [])
        assert [event async for event in channel] == [Closed("left")]


async def test_a_call_that_is_being_left_is_left(far: Any) -> None:
    """Though its socket is replaced before the platform has answered."""
    far.answer = lambda message: None if message[3] == "phx_leave" else ("ok", {})
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "call:1")
        leaving = asyncio.create_task(channel.leave())
        await until(lambda: far.sent("phx_leave"))
        await sockets.renew()
        async with asyncio.timeout(0.5):
            await leaving
        assert [event async for event in channel] == [Closed("left")]


async def test_a_channel_that_is_not_joined_yet_joins_the_new_socket(far: Any) -> None:
    """Once, and once more when that is lost."""
    async with pool(far.url) as sockets:
        channel = sockets.channel("call:1")
        await sockets.renew()
        await channel.join()
        assert isinstance(await anext(channel), Joined)
        far.sockets[-1].transport.abort()
        await until(lambda: len(far.sockets) == 3 and channel.joined)
    assert len(far.sent("phx_join")) == 2


async def test_a_join_that_is_under_way_is_made_again(far: Any) -> None:
    """And whoever waits for it waits on."""
    far.answer = lambda message: None if len(far.sent("phx_join")) == 1 else ("ok", {})
    async with pool(far.url) as sockets:
        channel = sockets.channel("call:1")
        joining = asyncio.create_task(channel.join())
        await until(lambda: far.sent("phx_join"))
        await sockets.renew()
        async with asyncio.timeout(0.5):
            await joining


async def test_renewing_twice_at_once_moves_one_after_the_other(far: Any) -> None:
    """Each channel is where it can be used."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "call:1")
        await asyncio.gather(sockets.renew(), sockets.renew())
        await until(lambda: channel.joined)
        assert (await channel.push("mute", {})).status == "ok"
    assert len(far.sockets) == 3


@pytest.mark.parametrize("silent", ["upgrade", "phx_join", "heartbeat"])
async def test_an_exit_while_a_socket_is_replaced_is_prompt(far: Any, wire: Any, silent: str) -> None:
    """Whatever the far end leaves unanswered just then."""
    async with pool(f"ws://127.0.0.1:{wire.port}/socket", timeout=30.0) as sockets:
        await joined(sockets, "queue:1")
        if silent == "upgrade":
            wire.freeze()
        far.answer = lambda message: None if message[3] == silent else ("ok", {})
        renewing = asyncio.create_task(sockets.renew())
        await asyncio.sleep(0.05)
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 4.0


async def test_the_pool_fails_with_its_socket(far: Any) -> None:
    """Refused three times in a row: the account is of no use any more."""
    async with pool(far.url) as sockets:
        far.accepts = lambda path: False
        far.sockets[0].transport.abort()
        async with asyncio.timeout(5):
            assert isinstance(await sockets.failed(), AuthenticationError)


async def test_a_refused_replacement_is_not_the_end(far: Any) -> None:
    """As long as the socket in use lives."""
    async with pool(far.url) as sockets:
        channel = await joined(sockets, "call:1")
        far.accepts = lambda path: False
        await sockets.renew()
        failed = asyncio.create_task(sockets.failed())
        await channel.push("mute", {})
        assert not failed.done()
        failed.cancel()
        await asyncio.gather(failed, return_exceptions=True)
