"""What happens in calls, read while it happens: over real connections, by others' clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI

from voki_bots.bots.bus import Bus
from voki_bots.calls import Call, CallLeft, HintGiven, Role, UtteranceHeard
from voki_bots.service.access import Access, same_origin
from voki_bots.service.delivery import LONGEST, TOPICS, Delivery
from voki_bots.service.feeds import KEPT

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
KIM = UtteranceHeard("u1", 0, False, "it does", Role.CUSTOMER, "c", 1.0, 1.5, name="Kim")


class Served:
    """A served delivery, and calls that tests play."""

    def __init__(self, delivery: Delivery, url: str) -> None:
        self.delivery = delivery
        self.url = url
        self.http = aiohttp.ClientSession(base_url=url)
        self._following: list[asyncio.Task[None]] = []

    async def call(self, call_id: str = "a/b", bot: str = "minutes") -> Bus:
        """Let a bot attend a call; its bus is what happens there."""
        session: Any = SimpleNamespace(call=Call("acme", call_id), bus=Bus(), bot=bot, now=1.0)
        self._following.append(asyncio.create_task(self.delivery.follow(session)))
        await asyncio.sleep(0)
        return session.bus  # type: ignore[no-any-return]

    def stream(self, kind: str, call: str = "a%2Fb", **headers: str) -> Any:
        return self.http.get(f"/api/v1/calls/acme/{call}/{kind}", headers={**BEARER, **headers})

    def socket(self, **more: Any) -> Any:
        return self.http.ws_connect("/api/v1/live", **more)

    async def close(self) -> None:
        await self.http.close()
        await asyncio.gather(*self._following)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = FastAPI()
    delivery = Delivery(Access(TOKEN), clock=asyncio.get_running_loop().time)
    app.include_router(delivery.routes())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    server.capture_signals = _none  # type: ignore[method-assign]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    it = Served(delivery, f"http://127.0.0.1:{port}")
    yield it
    for feed in delivery.feeds.all():
        feed.open = 0
    delivery.stop()
    server.should_exit = True
    await serving
    for task in it._following:
        task.cancel()
    await it.http.close()
    await asyncio.gather(*it._following, return_exceptions=True)


def _none() -> Any:
    import contextlib

    return contextlib.nullcontext()


async def sse(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Read server-sent events as a browser does."""
    fields: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if not line and fields:
            yield fields
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


async def test_captions_come_as_they_are_said(served: Served) -> None:
    """Revisions of one utterance under one name; other events are not captions."""
    bus = await served.call()
    async with served.stream("captions") as answer:
        reading = sse(answer)
        bus.publish(HintGiven("x", Role.ATTENDANT, "test"))
        bus.publish(KIM)
        first = await anext(reading)
        bus.publish(replace(KIM, rev=1, final=True, text="it does not work"))
        second = await anext(reading)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert (first["id"], second["id"]) == ("u1.0", "u1.1")
    assert json.loads(second["data"])["event"]["text"] == "it does not work"


async def test_a_reader_that_comes_back_misses_no_final(served: Served) -> None:
    """With the last id that it saw it goes on behind it."""
    bus = await served.call()
    for number in range(5):
        bus.publish(replace(KIM, id=f"u{number}", final=True))
    bus.publish(CallLeft("over"))
    bus.close()
    async with served.stream("captions", **{"Last-Event-ID": "u2.0"}) as answer:
        found = [each async for each in sse(answer)]
    assert [each.get("id", each["event"]) for each in found] == ["u3.0", "u4.0", "end"]


async def test_a_reader_that_does_not_read_holds_up_nobody(served: Served) -> None:
    """More is said than it can ever be sent; another reader has all of it, and it is told what it missed."""
    bus = await served.call()
    long = "x" * 2_000
    async with served.stream("events") as slow, served.stream("events") as quick:
        reading = sse(quick)
        for number in range(3 * KEPT):
            bus.publish(HintGiven(f"{number} {long}", Role.ATTENDANT, "test"))
            if number % 100 == 99:
                found = [await anext(reading) for _ in range(100)]
                assert json.loads(found[-1]["data"])["id"] == number + 1
        bus.close()
        told = [each async for each in sse(slow)]
    missed = sum(int(each["data"]) for each in told if each["event"] == "missed")
    assert missed > 0
    assert missed + sum(each["event"] == "HintGiven" for each in told) == 3 * KEPT


@pytest.mark.parametrize("path", ["events", "captions"])
async def test_a_stream_wants_the_token_and_a_call(served: Served, path: str) -> None:
    """401 without it, 404 for a call that is not attended."""
    await served.call()
    async with served.http.get(f"/api/v1/calls/acme/a%2Fb/{path}") as answer:
        assert answer.status == 401
    async with served.stream(path, "other") as answer:
        assert answer.status == 404


async def test_one_websocket_reads_several_calls(served: Served) -> None:
    """By topic, by kind, and from where it was."""
    buses = [await served.call(name) for name in ("1", "2")]
    for bus in buses:
        bus.publish(HintGiven("x", Role.ATTENDANT, "test"))
        bus.publish(KIM)
    async with served.socket() as socket:
        await socket.send_json({"token": TOKEN})
        assert await socket.receive_json() == {"type": "hello"}
        await socket.send_json({"subscribe": "acme/1", "kinds": ["UtteranceHeard"]})
        one = await socket.receive_json()
        await socket.send_json({"subscribe": "acme/2", "last": 1})
        two = await socket.receive_json()
        await socket.send_json({"unsubscribe": "acme/1"})
        await socket.send_json({"subscribe": "acme/3"})
        refused = await socket.receive_json()
        buses[0].publish(replace(KIM, rev=1))
        buses[1].publish(CallLeft("over"))
        buses[1].close()
        last = [await socket.receive_json(), await socket.receive_json()]
    assert (one["topic"], one["entry"]["event"]["id"]) == ("acme/1", "u1")
    assert (two["topic"], two["entry"]["id"]) == ("acme/2", 2)
    assert "no bot attends" in refused["why"]
    assert [last[0]["entry"]["type"], last[1]] == ["CallLeft", {"type": "end", "topic": "acme/2"}]


@pytest.mark.parametrize("first", [{"token": "a-token-of-somebody"}, {}, [], "x"])
async def test_a_websocket_without_the_token_is_closed(served: Served, first: Any) -> None:
    """Whatever it sends first that is not the token."""
    async with served.socket() as socket:
        await socket.send_json(first)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == 1008


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_opens_no_websocket(served: Served, origin: str) -> None:
    """Not even with the token."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await served.socket(headers=BEARER, origin=origin).__aenter__()
    assert refused.value.status == 403


async def test_a_page_of_our_own_opens_one(served: Served) -> None:
    """Its origin is the host that it asks."""
    async with served.socket(origin=served.url) as socket:
        await socket.send_json({"token": TOKEN})
        assert await socket.receive_json() == {"type": "hello"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("x", "Expecting value"),
        (json.dumps([1]), "expected a JSON object"),
        (json.dumps({"subscribe": 1}), "expected {subscribe"),
        (json.dumps({"subscribe": "acme/a/b", "kinds": 1}), "kinds: expected a list"),
        (json.dumps({"subscribe": "x" * LONGEST}), f"at most {LONGEST}"),
        ("[" * 4000, "expected a JSON object"),
    ],
)
async def test_a_message_that_is_not_understood_is_answered(served: Served, said: str, why: str) -> None:
    """In one sentence, and the connection goes on."""
    await served.call()
    async with served.socket(headers=BEARER) as socket:
        await socket.receive_json()
        await socket.send_str(said)
        assert why in (await socket.receive_json())["why"]


async def test_a_websocket_has_a_bounded_number_of_topics(served: Served) -> None:
    """Nobody fills our memory with subscriptions."""
    async with served.socket(headers=BEARER) as socket:
        await socket.receive_json()
        for number in range(TOPICS + 1):
            await served.call(str(number))
            await socket.send_json({"subscribe": f"acme/{number}"})
        assert f"at most {TOPICS} topics" in (await socket.receive_json())["why"]


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        (None, "a:80", True),
        ("http://a:80", "a:80", True),
        ("http://b:80", "a:80", False),
        ("null", "a:80", False),
        ("http://a:80", None, False),
        ("http://a:80@evil", "a:80", False),
    ],
)
def test_an_origin_is_the_same_if_its_host_is(origin: str | None, host: str | None, same: bool) -> None:
    """Whoever sends none is no browser."""
    assert same_origin(origin, host) is same
