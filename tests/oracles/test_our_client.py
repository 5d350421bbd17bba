"""Our client against the conformance server, which recordings of Phoenix and its own client judge.

The same scenarios hold for both releases and both web servers that Phoenix runs on.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from voki_bots.errors import AuthenticationError, ConnectionLostError, JoinRefusedError, ReplyTimeoutError
from voki_bots.signalling.membership import Reply
from voki_bots.signalling.presence import AgentsOnline
from voki_bots.signalling.socket import Channel, Closed, Errored, Joined, Received, Socket
from voki_bots.testing.sim import SandboxProcess

QUICK: dict[str, Any] = {"backoff": (0.1, 0.2), "timeout": 2.0}


LONG = [
    pytest.param("1.7 bandit", marks=pytest.mark.soak),
    pytest.param("1.8 cowboy", marks=pytest.mark.soak),
]


@pytest.fixture(scope="module", params=["1.7 cowboy", "1.8 bandit", *LONG])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server."""
    release, adapter = request.param.split()
    options = [
        "--conformance",
        "--no-call",
        "--phoenix",
        release,
        "--adapter",
        adapter,
        "--idle-timeout",
        "2",
    ]
    with SandboxProcess(options) as sandbox:
        yield sandbox.url


@asynccontextmanager
async def connected(server: str, user: str = "user:ana", **options: Any) -> AsyncIterator[Socket]:
    async def token(fresh: bool) -> str:
        return user

    settings = {"permitted": lambda topic, event: True, "random": Random(1), **QUICK, **options}
    async with Socket(f"ws{server.removeprefix('http')}/socket", token, **settings) as socket:
        await socket.connected()
        yield socket


async def joined(socket: Socket, topic: str, **params: object) -> Channel:
    channel = socket.channel(topic, params)
    await channel.join()
    return channel


async def upcoming(channel: Channel, kind: type, times: int = 1) -> Any:
    async with asyncio.timeout(5):
        async for event in channel:
            if isinstance(event, kind):
                times -= 1
                if not times:
                    return event
    raise AssertionError(f"the channel ended without {kind.__name__}")


async def test_it_joins_and_hears_what_follows_the_reply(server: str) -> None:
    """The marker is pushed right behind the join's reply (row 37)."""
    async with connected(server) as socket:
        channel = await joined(socket, "call:1", a=1)
        events = [await anext(channel), await anext(channel)]
    assert events == [
        Joined({"call_id": "1", "params": {"a": 1}, "user_id": "ana"}, False),
        Received("joined_marker", {"call_id": "1"}),
    ]


@pytest.mark.parametrize(
    ("topic", "reason"),
    [("call:missing", "not_found"), ("queue:denied", "denied"), ("nosuch:1", "unmatched topic")],
)
async def test_a_refusal_is_told_at_once(server: str, topic: str, reason: str) -> None:
    """Also one whose reply has a null join_ref (rows 24, 25)."""
    async with connected(server) as socket:
        with pytest.raises(JoinRefusedError) as caught:
            async with asyncio.timeout(1):
                await joined(socket, topic)
    assert caught.value.reason == reason


async def test_a_flaky_join_is_made_at_the_third_try(server: str) -> None:
    """Row 32."""
    async with connected(server) as socket:
        assert (await joined(socket, f"call:flaky:{id(socket)}")).joined


async def test_a_join_that_crashes_leaves_the_socket_usable(server: str) -> None:
    """Row 26: it is tried again until the caller has waited long enough."""
    async with connected(server, timeout=0.5) as socket:
        with pytest.raises(ReplyTimeoutError):
            await joined(socket, "call:joincrash")
        assert (await joined(socket, "call:1")).joined


async def test_a_slow_join_that_timed_out_is_joined_later(server: str) -> None:
    """Row 28: the late reply of the first is not taken for that of the second."""
    waits = iter([700, 0, 0, 0])
    async with connected(server, timeout=0.3) as socket:
        channel = socket.channel("call:slowjoin", lambda: {"ms": next(waits)})
        with pytest.raises(ReplyTimeoutError):
            await channel.join()
        assert (await upcoming(channel, Joined)).response["params"]["ms"] == 0


@pytest.mark.parametrize(
    ("event", "payload", "reply"),
    [
        ("echo", {"x": [1, None, "é"]}, Reply("ok", {"x": [1, None, "é"]})),
        ("fail", {"x": 1}, Reply("error", {"reason": "failed", "got": {"x": 1}})),
        ("custom_status", {}, Reply("partial", {"x": 1})),
        ("later_reply", {"ms": 50}, Reply("ok", {"ms": 50})),
    ],
)
async def test_replies_are_passed_through(server: str, event: str, payload: Any, reply: Reply) -> None:
    """Row 45."""
    async with connected(server) as socket:
        assert await (await joined(socket, "call:1")).push(event, payload) == reply


async def test_a_hundred_replies_find_their_pushes(server: str) -> None:
    """Row 51: each answered after another time."""
    async with connected(server) as socket:
        channel = await joined(socket, "call:1")
        waits = [{"ms": (37 * n) % 100, "n": n} for n in range(100)]
        replies = await asyncio.gather(*(channel.push("later_reply", wait) for wait in waits))
    assert [reply.response for reply in replies] == waits


async def test_broadcasts_come_in_order_and_before_the_reply(server: str) -> None:
    """Rows 33, 36."""
    async with connected(server) as socket, connected(server, "user:rui") as other:
        channel, listening = await joined(socket, "call:7"), await joined(other, "call:7")
        await channel.push("bcast", {"event": "one", "payload": {"n": 1}})
        await channel.push("many", {"n": 50})
        heard = await upcoming(listening, Received, 2)
        own = [await upcoming(channel, Received) for _ in range(53)]
    assert heard == Received("one", {"n": 1})
    assert own[2:] == [Received("one", {"n": 1}), *(Received("n", {"i": n + 1}) for n in range(50))]


@pytest.mark.parametrize("event", ["crash", "exit_shutdown", "stop_error"])
async def test_a_crash_fails_what_is_pending_and_rejoins(server: str, event: str) -> None:
    """Rows 47, 52, 54: at once, not after the timeout."""
    async with connected(server, timeout=30.0) as socket:
        channel = await joined(socket, "call:1")
        pending = asyncio.gather(
            channel.push("slow", {"ms": 100}),
            channel.push(event, {}),
            channel.push("ok", {}),
            return_exceptions=True,
        )
        async with asyncio.timeout(3):
            answered, *failed = await pending
        await upcoming(channel, Joined, 2)
        again = await channel.push("echo", {"again": True})
    assert isinstance(answered, Reply) and again.status == "ok"
    assert [type(one) for one in failed] == [ConnectionLostError, ConnectionLostError]


@pytest.mark.parametrize("event", ["stop_normal", "stop_shutdown", "end_call"])
async def test_a_channel_that_the_server_ends_stays_closed(server: str, event: str) -> None:
    """Row 57: also after a reconnect."""
    async with connected(server) as socket:
        channel = await joined(socket, "call:9")
        channel.send(event, {})
        await upcoming(channel, Closed)
        await (await joined(socket, "call:8")).push("echo", {})
        assert [channel.topic for channel in socket.channels] == ["call:8"]


@pytest.mark.parametrize("event", ["disconnect_me", "kill_transport", "drain"])
async def test_a_socket_that_the_server_ends_comes_back(server: str, event: str) -> None:
    """Rows 10, 11: whatever the close code, or none; what waits goes out then."""
    async with connected(server) as socket:
        channel = await joined(socket, "call:1")
        channel.send(event, {})
        await upcoming(channel, Errored)
        reply = await channel.push("echo", {"waited": True})
        assert (reply.response, (await upcoming(channel, Joined)).again) == ({"waited": True}, True)


async def test_a_token_that_ends_is_replaced(server: str) -> None:
    """Row 76: the socket is dropped, the old token is refused, the next one is taken."""
    tokens = iter([f"expire_in:300:{id(server)}", *["user:ana"] * 9])

    async def token(fresh: bool) -> str:
        return next(tokens)

    url = f"ws{server.removeprefix('http')}/socket"
    async with Socket(url, token, random=Random(1), **QUICK) as socket:
        channel = await joined(socket, "call:1")
        assert (await upcoming(channel, Joined, 2)).response["user_id"] == "ana"


async def test_a_bad_token_is_refused_for_good(server: str) -> None:
    """Row 4: a 403 with an empty body, after everything was tried."""
    with pytest.raises(AuthenticationError):
        async with connected(server, "nonsense"):
            pass


async def test_heartbeats_outlive_the_idle_timeout(server: str) -> None:
    """Row 16: two seconds of silence would end the connection."""
    async with connected(server, heartbeat=0.5) as socket:
        channel = await joined(socket, "call:1")
        await asyncio.sleep(2.5)
        assert (channel.joined, await socket.ping() < 1.0) == (True, True)


async def test_leave_and_join_in_one_breath(server: str) -> None:
    """Row 31: the leave ends though its reply may never come, and the new channel stays."""
    async with connected(server) as socket:
        old, new = await joined(socket, "call:1"), socket.channel("call:1")
        async with asyncio.timeout(1):
            await asyncio.gather(old.leave(), new.join())
        assert (await new.push("echo", {})).status == "ok"
        assert [type(event) async for event in old][-1] is Closed


async def test_a_second_channel_of_a_topic_takes_over(server: str) -> None:
    """Row 30: the late close of the first does not close the second."""
    async with connected(server) as socket:
        first = await joined(socket, "call:1")
        second = await joined(socket, "call:1")
        assert (await second.push("echo", {})).status == "ok"
        assert [type(event) async for event in first][-1] is Closed


async def test_the_hundred_and_first_channel_is_refused(server: str) -> None:
    """Row 27: the others work on."""
    async with connected(server) as socket:
        channels = await asyncio.gather(*(joined(socket, f"call:{n}") for n in range(100)))
        with pytest.raises(JoinRefusedError, match="too many channels"):
            await joined(socket, "call:101")
        assert (await channels[0].push("echo", {})).status == "ok"


async def test_agents_come_online_once_and_go_once(server: str) -> None:
    """Rows 65 to 69: state and diff tell of the same; a change is no absence."""
    async with connected(server) as socket:
        watching, view = await joined(socket, "presence:1", observe=True), AgentsOnline("1")
        seen: list[tuple[str, str]] = []

        async def until(change: str) -> None:
            async with asyncio.timeout(5):
                while not seen or seen[-1][1] != change:
                    event = await upcoming(watching, Received)
                    seen.extend(
                        (fact.user_id, fact.change) for fact in view.receive(event.event, event.payload)
                    )

        async with connected(server, "user:rui") as other:
            agent = await joined(other, "presence:1")
            await until("online")
            await agent.push("status", {"status": "busy"})
            await until("changed")
        await until("offline")
    assert seen == [("rui", "online"), ("rui", "changed"), ("rui", "offline")]


async def test_a_disconnect_by_the_operator_is_survived(server: str) -> None:
    """As when a token is revoked from outside."""
    async with connected(server, "user:eva") as socket:
        channel = await joined(socket, "call:1")
        asked = urllib.request.Request(f"{server}/disconnect/eva", method="POST")
        await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=5).close())
        assert (await upcoming(channel, Joined, 2)).again
