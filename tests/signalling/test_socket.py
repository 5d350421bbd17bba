"""The socket against a real websocket server behind a wire that fails. Numbers are rows of the behaviours."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import structlog

from voki_bots.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    JoinRefusedError,
    ProtocolError,
    ReplyTimeoutError,
)
from voki_bots.signalling.socket import Channel, Closed, Errored, Joined, Received, Socket

SECRET = "s3cr3t-t0ken"
QUICK: dict[str, Any] = {"backoff": (0.05, 0.1), "timeout": 1.0, "heartbeat": 30.0}


class Source:
    """Where tokens come from; remembers how it was asked."""

    def __init__(self, *failures: Exception) -> None:
        self.asked: list[bool] = []
        self.failures = list(failures)

    async def __call__(self, fresh: bool) -> str:
        self.asked.append(fresh)
        if self.failures:
            raise self.failures.pop(0)
        return f"{SECRET}-{len(self.asked)}"


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Socket]:
    socket = Socket(url, options.pop("token", Source()), **{**QUICK, "random": Random(1), **options})
    async with socket:
        async with asyncio.timeout(5):
            await socket.connected()
        yield socket


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def upcoming(channel: Channel, kind: type, times: int = 1) -> Any:
    """The n-th coming event of that kind."""
    async with asyncio.timeout(5):
        async for event in channel:
            if isinstance(event, kind):
                times -= 1
                if not times:
                    return event
    raise AssertionError(f"the channel ended without {kind.__name__}")


def echo(message: list[Any]) -> tuple[str, object]:
    return "ok", message[4]


# ---------------------------------------------------------------- connect


@pytest.mark.parametrize("tail", ["", "/", "/websocket", "/websocket?token=old&vsn=1.0.0"])
async def test_1_the_address_gets_its_parts_once(far: Any, tail: str) -> None:
    """Whatever of path, version and token the given address has."""
    async with connected(far.url + tail):
        assert far.requests == [f"/socket/websocket?token={SECRET}-1&vsn=2.0.0"]


async def test_1_the_token_is_percent_encoded(far: Any) -> None:
    """A token may hold anything."""

    async def token(fresh: bool) -> str:
        return "a b&vsn=9+/é"

    async with connected(far.url, token=token):
        assert far.requests == ["/socket/websocket?token=a+b%26vsn%3D9%2B%2F%C3%A9&vsn=2.0.0"]


async def test_2_the_token_is_asked_for_at_every_attempt(far: Any) -> None:
    """A reconnect never reuses an address."""
    source = Source()
    async with connected(far.url, token=source) as socket:
        await far.sockets[0].close(1001)
        await until(lambda: len(far.sockets) == 2)
        await socket.connected()
    assert source.asked == [False, False]


async def test_3_one_connection_is_open_at_a_time(far: Any) -> None:
    """Waiting twice for the connection opens one."""
    async with connected(far.url) as socket:
        await asyncio.gather(socket.connected(), socket.connected())
        assert len(far.sockets) == 1


async def test_4_a_403_makes_it_ask_for_a_fresh_token_first(far: Any) -> None:
    """The token is the first suspect."""
    source = Source()
    far.statuses = [403]
    async with connected(far.url, token=source):
        assert source.asked == [False, True]


async def test_4_after_a_fresh_token_the_versions_are_tried(far: Any) -> None:
    """Then 1.0.0, then none at all (Q1)."""
    far.accepts = lambda path: "vsn" not in path
    async with connected(far.url):
        versions = [path.partition("&vsn=")[2] for path in far.requests]
    assert versions == ["2.0.0", "2.0.0", "1.0.0", ""]


async def test_4_what_is_spoken_can_be_asked(far: Any) -> None:
    """The path that was found, and the version of the serializer."""
    far.accepts = lambda path: "vsn=1.0.0" in path
    async with connected(far.url) as socket:
        assert socket.spoken == ("/socket/websocket", "1.0.0")


async def test_4_the_version_that_worked_is_kept(far: Any) -> None:
    """A reconnect asks for it straight away."""
    far.accepts = lambda path: "vsn=1.0.0" in path
    async with connected(far.url):
        far.requests.clear()
        far.sockets[0].transport.abort()
        await until(lambda: len(far.sockets) == 2)
    assert ["vsn=1.0.0" in path for path in far.requests] == [True]


async def test_4_it_gives_up_when_everything_is_refused(far: Any) -> None:
    """With an AuthenticationError that carries the status, and no further attempts."""
    far.accepts = lambda path: False
    with pytest.raises(AuthenticationError) as caught:
        async with connected(far.url):
            pass
    assert (caught.value.status, len(far.requests)) == (403, 4)


async def test_4_failed_says_why_it_gave_up(far: Any) -> None:
    """Also long after the first success: refused three times in a row."""
    async with connected(far.url) as socket:
        far.accepts = lambda path: False
        far.sockets[0].transport.abort()
        async with asyncio.timeout(5):
            verdict = await socket.failed()
    assert isinstance(verdict, AuthenticationError) and len(far.requests) == 4


async def test_4_giving_up_closes_the_channels(far: Any) -> None:
    """Nobody waits for a channel that will never come back."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        far.accepts = lambda path: False
        far.sockets[0].transport.abort()
        await upcoming(channel, Closed)
        with pytest.raises(AuthenticationError):
            await channel.push("signal", {})


@pytest.mark.parametrize("status", [404, 400])
async def test_5_a_wrong_path_is_tried_in_the_other_form(far: Any, status: int) -> None:
    """Voki's own example adds the transport's part twice (Q2)."""
    far.statuses = [status]
    async with connected(far.url):
        assert [path.partition("?")[0] for path in far.requests] == [
            "/socket/websocket",
            "/socket/websocket/websocket",
        ]


async def test_5_no_socket_at_this_address_is_a_configuration_error(far: Any) -> None:
    """It is given up at once, and the address is named without the token."""
    far.statuses = [404, 404]
    with pytest.raises(ConfigurationError, match=r"/socket is no Phoenix socket \(HTTP 404\)"):
        async with connected(far.url):
            pass


async def test_5_a_404_of_a_socket_that_worked_is_an_outage(far: Any) -> None:
    """A deploy may answer anything for a while."""
    async with connected(far.url):
        far.statuses = [404, 404, 502]
        far.sockets[0].transport.abort()
        await until(lambda: len(far.sockets) == 2)
    assert far.requests[-1].startswith("/socket/websocket?")


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_5_server_errors_are_told_and_retried(far: Any, status: int) -> None:
    """The waiter hears of it, the socket goes on."""
    far.statuses = [status]
    async with Socket(far.url, Source(), random=Random(1), **QUICK) as socket:
        with pytest.raises(ConnectionLostError, match=f"HTTP {status}"):
            await socket.connected()
        await socket.connected()


async def test_5_a_refused_connection_is_told_and_retried(far: Any) -> None:
    """Nobody listens; then somebody does."""
    await far.stop()
    async with Socket(far.url, Source(), random=Random(1), **QUICK) as socket:
        with pytest.raises(ConnectionLostError, match="cannot be reached"):
            await socket.connected()
        await far.start()
        await until(lambda: far.sockets)


async def test_a_redirect_is_not_followed(far: Any) -> None:
    """It would carry the token to another place."""
    far.statuses = [302, 302]
    with pytest.raises(ConfigurationError):
        async with connected(far.url):
            pass


@pytest.mark.parametrize(
    "url", ["", "voki.example", "ftp://voki.example/socket", "ws://", "ws://x:99999/", "ws://["]
)
async def test_an_impossible_address_is_a_configuration_error(url: str) -> None:
    """Found before anything connects."""
    with pytest.raises(ConfigurationError):
        Socket(url, Source(), random=Random(1))


async def test_7_a_channel_that_joins_while_connecting_fails_joins_once_it_works(far: Any) -> None:
    """With exactly one phx_join on the wire."""
    far.statuses = [503, 503]
    async with Socket(far.url, Source(), random=Random(1), **QUICK) as socket:
        await socket.channel("call:1").join()
    assert len(far.sent("phx_join")) == 1


# ---------------------------------------------------------------- closing


async def test_8_after_the_exit_nothing_reconnects(far: Any) -> None:
    """Our own close is the only one that is final."""
    async with connected(far.url):
        pass
    await asyncio.sleep(0.2)
    assert (len(far.requests), far.closes) == (1, [1000])


async def test_9_an_exit_before_the_connection_is_clean(far: Any) -> None:
    """Leaving while the handshake is under way leaves nothing."""
    async with Socket(far.url, Source(), random=Random(1), **QUICK):
        await asyncio.sleep(0)
    assert not far.open


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1009, 1011, 1012])
async def test_10_11_every_close_of_the_server_reconnects_and_rejoins(far: Any, code: int) -> None:
    """Whatever its code: only we decide that it is over."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        await far.sockets[0].close(code)
        assert (await upcoming(channel, Joined, 2)).again


async def test_11_a_cut_wire_reconnects_and_rejoins(far: Any, wire: Any) -> None:
    """No close frame at all (1006)."""
    async with connected(f"ws://127.0.0.1:{wire.port}/socket") as socket:
        channel = socket.channel("call:1")
        await channel.join()
        wire.cut()
        assert (await upcoming(channel, Joined, 2)).again


async def test_14_every_opening_and_close_is_told_once(far: Any) -> None:
    """With its code and reason in the log, and its code to each channel."""
    with structlog.testing.capture_logs() as logs:
        async with connected(far.url) as socket:
            channel = socket.channel("call:1")
            await channel.join()
            await far.sockets[0].close(1011, "why")
            told = [await anext(channel) for _ in range(3)]
    kinds = ("socket.opened", "socket.closed")
    events = [
        (line["event"], line.get("code"), line.get("reason")) for line in logs if line["event"] in kinds
    ]
    assert events[:3] == [
        ("socket.opened", None, None),
        ("socket.closed", 1011, "why"),
        ("socket.opened", None, None),
    ]
    assert told == [Joined({}, False), Errored("the connection ended (1011)"), Joined({}, True)]


async def test_12_an_exit_during_the_back_off_is_immediate(far: Any) -> None:
    """Nobody waits for a sleep."""
    await far.stop()
    async with Socket(far.url, Source(), random=Random(1), backoff=(60,)) as socket:
        with pytest.raises(ConnectionLostError):
            await socket.connected()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 0.2


async def test_13_an_exit_with_a_flood_unread_is_prompt(far: Any) -> None:
    """Messages that nobody consumes do not hold up the close."""
    async with connected(far.url) as socket:
        await socket.channel("call:1").join()
        flood = asyncio.create_task(_flood(far))
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
    took = asyncio.get_running_loop().time() - began
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    assert took < 1.5


async def _flood(far: Any) -> None:
    message = json.dumps([None, None, "call:2", "e", {"x": "y" * 1000}])
    while True:
        for _ in range(20):
            await far.sockets[0].send(message)
        await asyncio.sleep(0)


async def test_13_an_exit_over_a_frozen_wire_is_bounded(far: Any, wire: Any) -> None:
    """A far end that does not answer the close is left behind."""
    async with connected(f"ws://127.0.0.1:{wire.port}/socket"):
        wire.freeze()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2.5


async def test_an_error_of_the_body_comes_out_as_it_is(far: Any) -> None:
    """Not in a group, and not replaced."""
    with pytest.raises(KeyError):
        async with connected(far.url):
            raise KeyError("x")


# ---------------------------------------------------------------- heartbeat


async def test_17_a_frozen_wire_is_noticed_and_replaced(far: Any, wire: Any) -> None:
    """Silence errors the channels, and they rejoin over the next connection."""
    url = f"ws://127.0.0.1:{wire.port}/socket"
    async with connected(url, heartbeat=0.1, timeout=0.1) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        wire.freeze()
        reason = (await upcoming(channel, Errored)).reason
        wire.thaw()
        assert ((await upcoming(channel, Joined)).again, reason) == (True, "heartbeat_timeout")


async def test_16_heartbeats_keep_a_quiet_connection(far: Any) -> None:
    """Several intervals pass over one connection."""
    async with connected(far.url, heartbeat=0.05):
        await until(lambda: len(far.sent("heartbeat")) >= 4)
    assert len(far.sockets) == 1


async def test_20_ping_measures_the_round_trip(far: Any) -> None:
    """In seconds."""
    async with connected(far.url) as socket:
        assert 0 < await socket.ping() < 1


# ---------------------------------------------------------------- channels


async def test_23_join_returns_the_response(far: Any) -> None:
    """As the platform gave it."""
    far.answer = echo
    async with connected(far.url) as socket:
        assert await socket.channel("call:1", {"mode": "monitor"}).join() == {"mode": "monitor"}


async def test_24_a_refused_join_raises(far: Any) -> None:
    """With the topic and the reason."""
    far.answer = lambda message: ("error", {"reason": "forbidden"})
    async with connected(far.url) as socket:
        with pytest.raises(JoinRefusedError, match="call:1.*forbidden"):
            await socket.channel("call:1").join()


async def test_joined_says_whether_a_push_would_go_out_at_once(far: Any) -> None:
    """Before the join, after it, and when it is left."""
    async with connected(far.url) as socket:
        channel, states = socket.channel("call:1"), list[bool]()
        states.append(channel.joined)
        await channel.join()
        states.append(channel.joined)
        await channel.leave()
        states.append(channel.joined)
    assert states == [False, True, False]


async def test_open_says_whether_there_is_a_connection(far: Any) -> None:
    """Not while connecting, not after the exit."""
    async with Socket(far.url, Source(), random=Random(1), **QUICK) as socket:
        states = [socket.open]
        await socket.connected()
        states.append(socket.open)
    assert [*states, socket.open] == [False, True, False]


async def test_28_a_join_without_an_answer_raises(far: Any) -> None:
    """After the timeout."""
    far.answer = lambda message: None
    async with connected(far.url, timeout=0.05) as socket:
        with pytest.raises(ReplyTimeoutError):
            await socket.channel("call:1").join()


async def test_36_events_come_in_the_order_of_their_arrival(far: Any) -> None:
    """Through the whole socket."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        for number in range(200):
            await far.say("call:1", "n", number)
        events = [await anext(channel) for _ in range(201)]
    assert events[1:] == [Received("n", number) for number in range(200)]


async def test_35_a_consumer_that_raises_stops_neither_the_socket_nor_the_others(far: Any) -> None:
    """It may also begin again where it stopped."""

    async def consume(channel: Channel) -> None:
        async for event in channel:
            if isinstance(event, Received):
                raise KeyError("a bug of the consumer's")

    async with connected(far.url) as socket:
        one, two = socket.channel("call:1"), socket.channel("call:2")
        await asyncio.gather(one.join(), two.join())
        consuming = asyncio.create_task(consume(one))
        for topic in ("call:1", "call:2", "call:1"):
            await far.say(topic, "e", topic)
        with pytest.raises(KeyError):
            await consuming
        assert await upcoming(two, Received) == Received("e", "call:2")
        assert await upcoming(one, Received) == Received("e", "call:1")


async def test_38_the_iteration_goes_on_after_a_rejoin(far: Any) -> None:
    """Whoever listens to a channel listens through every reconnect."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        for life in range(3):
            await far.say("call:1", "e", life)
            assert await upcoming(channel, Received) == Received("e", life)
            far.sockets[-1].transport.abort()
            assert (await upcoming(channel, Joined)).again


async def test_39_a_slow_consumer_does_not_stall_the_heartbeat(far: Any) -> None:
    """Nobody reads the channel, and the connection lives."""
    async with connected(far.url, heartbeat=0.05, timeout=0.05) as socket:
        await socket.channel("call:1").join()
        await far.say("call:1", "e", {})
        await until(lambda: len(far.sent("heartbeat")) >= 3)
        assert len(far.sockets) == 1


async def test_a_consumer_too_far_behind_ends_with_a_protocol_error(far: Any) -> None:
    """Signalling is never dropped: what was kept is read, then comes the error."""
    async with connected(far.url, max_events=3) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        for number in range(9):
            await far.say("call:1", "n", number)
        await until(lambda: far.sent("phx_leave"))
        seen = []
        with pytest.raises(ProtocolError):
            async for event in channel:
                seen.append(event)
    assert len(seen) == 3


async def test_the_iteration_ends_after_closed(far: Any) -> None:
    """A close by the platform is the last event."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        await far.sockets[0].send(json.dumps(["1", "1", "call:1", "phx_close", {}]))
        assert [type(event) async for event in channel] == [Joined, Closed]


async def test_the_exit_of_the_socket_closes_its_channels(far: Any) -> None:
    """Consumers come to an end."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
    assert [type(event) async for event in channel] == [Joined, Errored, Closed]


async def test_leave_tells_the_platform(far: Any) -> None:
    """And returns when it is done; a second leave is harmless."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        await channel.leave()
        await channel.leave()
    assert len(far.sent("phx_leave")) == 1


async def test_leave_after_the_exit_returns(far: Any) -> None:
    """Whoever cleans up late is not punished."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
    await channel.leave()


# ---------------------------------------------------------------- push


async def test_45_push_returns_the_reply(far: Any) -> None:
    """Status and response."""
    far.answer = echo
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        reply = await channel.push("mute", {"type": "audio", "muted": True})
    assert (reply.status, reply.response) == ("ok", {"type": "audio", "muted": True})


@pytest.mark.parametrize(
    ("topic", "event"), [("call:1", "whisper_start"), ("queue:1", "signal"), ("call:1", "phx_join")]
)
async def test_an_undocumented_event_is_never_pushed(far: Any, topic: str, event: str) -> None:
    """A channel that does not know an event crashes (Q10)."""
    async with connected(far.url) as socket:
        channel = socket.channel(topic)
        await channel.join()
        with pytest.raises(ProtocolError):
            await channel.push(event, {})
        with pytest.raises(ProtocolError):
            channel.send(event, {})


async def test_47_pending_pushes_fail_at_once_when_the_wire_is_cut(far: Any, wire: Any) -> None:
    """Not after their timeout."""
    far.answer = lambda message: None if message[3] == "signal" else ("ok", {})
    async with connected(f"ws://127.0.0.1:{wire.port}/socket", timeout=60.0) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        push = asyncio.create_task(channel.push("signal", {}))
        await until(lambda: far.sent("signal"))
        wire.cut()
        async with asyncio.timeout(1):
            with pytest.raises(ConnectionLostError):
                await push


async def test_49_a_cancelled_push_leaves_nothing(far: Any) -> None:
    """The pending entry goes with its waiter."""
    far.answer = lambda message: None if message[3] == "signal" else ("ok", {})
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await channel.push("signal", {})
        assert len(socket._connection) == 0


async def test_51_a_hundred_pushes_in_flight_get_their_own_replies(far: Any) -> None:
    """None is lost or mixed up."""
    far.answer = echo
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        replies = await asyncio.gather(*(channel.push("signal", {"n": n}) for n in range(100)))
    assert [reply.response for reply in replies] == [{"n": n} for n in range(100)]


async def test_42_a_send_during_an_outage_arrives_with_the_new_join_ref(far: Any) -> None:
    """Signals are buffered while signalling is away (Q4)."""
    async with connected(far.url) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        far.sockets[0].transport.abort()
        await upcoming(channel, Errored)
        channel.send("signal", {"type": "offer"})
        await until(lambda: far.sent("signal"))
    assert far.sent("signal")[0][0] == far.sent("phx_join")[1][1]


# ---------------------------------------------------------------- tokens


async def test_76_a_dropped_socket_comes_back_with_the_next_token(far: Any) -> None:
    """Expiry needs nothing from the user."""
    source = Source()
    async with connected(far.url, token=source) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        await far.sockets[0].close(1000)
        await upcoming(channel, Joined, 2)
    assert [path.partition("&")[0][-1] for path in far.requests] == ["1", "2"]


async def test_76_replace_reconnects_at_once_with_a_fresh_token(far: Any) -> None:
    """The token is fetched before the connection is broken."""
    source = Source()
    async with connected(far.url, token=source, backoff=(60,)) as socket:
        channel = socket.channel("call:1")
        await channel.join()
        await socket.replace()
        await upcoming(channel, Joined, 2)
    assert (source.asked, len(far.requests)) == ([False, True], 2)


async def test_76_a_replace_without_a_token_leaves_the_connection_alone(far: Any) -> None:
    """Better an old connection than none."""
    source = Source()
    async with connected(far.url, token=source) as socket:
        source.failures = [ConnectionLostError("down")]
        with pytest.raises(ConnectionLostError):
            await socket.replace()
        await socket.ping()
    assert len(far.requests) == 1


async def test_77_a_source_of_tokens_that_fails_is_retried_with_back_off(far: Any) -> None:
    """Never in a busy loop."""
    source = Source(*(ConnectionLostError("down") for _ in range(3)))
    began = asyncio.get_running_loop().time()
    async with Socket(far.url, source, random=Random(1), **QUICK):
        await until(lambda: far.sockets)
    assert asyncio.get_running_loop().time() - began > 0.15


async def test_77_a_platform_whose_sign_in_vanishes_for_a_while_is_not_given_up(far: Any) -> None:
    """It was right before, so it is an outage."""
    source = Source()
    async with connected(far.url, token=source):
        source.failures = [ConfigurationError("no /api/auth/login (HTTP 404)")]
        far.sockets[0].transport.abort()
        await until(lambda: len(far.sockets) == 2)


async def test_77_a_refused_account_is_told_at_once(far: Any) -> None:
    """Nothing connects without a token."""
    with pytest.raises(AuthenticationError, match="wrong password"):
        async with connected(far.url, token=Source(AuthenticationError("wrong password"))):
            pass
    assert far.requests == []


@pytest.mark.parametrize("status", [403, 404, 500, 302])
async def test_78_the_token_is_in_no_log_and_no_exception(
    far: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither ours nor a library's, whatever goes wrong; nor in the cause of an exception."""
    caplog.set_level(logging.DEBUG)
    far.statuses = [status] * 8
    with structlog.testing.capture_logs() as logs:
        async with Socket(far.url, Source(), random=Random(1), **QUICK) as socket:
            channel = socket.channel("call:1")
            joining = asyncio.create_task(channel.join())
            with pytest.raises(Exception) as caught:
                await socket.connected()
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)
    shown = (
        f"{logs}{caplog.text}{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}{socket!r}"
    )
    assert SECRET not in shown
