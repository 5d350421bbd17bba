"""The sandbox against what a real Phoenix 1.8.12 answered, scenario by scenario; and 1.7 where it differs."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from voki_bots.sandbox.options import SandboxOptions
from voki_bots.sandbox.server import Sandbox

RECORDED = json.loads((Path(__file__).parent / "phoenix" / "recorded-1.8.12.json").read_text())
SCENARIOS = {scenario["name"]: scenario["steps"] for scenario in RECORDED["scenarios"]}
Frame = Any

BURST = "leave_then_join_same_burst"
"""Here the leave's reply may be missing, and the old channel may close after the new one is joined."""


@pytest.fixture
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A conformance sandbox of the release named by the test, and a way to open sockets there."""
    options = SandboxOptions(conformance=True, default_call=False, phoenix=getattr(request, "param", "1.8"))
    async with Sandbox(options) as sandbox, aiohttp.ClientSession() as http:

        def opened(**query: str) -> Any:
            return http.ws_connect(sandbox.socket_url, params={"token": "user:g", "vsn": "2.0.0", **query})

        opened.http, opened.url = http, sandbox.socket_url.replace("ws:", "http:")  # type: ignore[attr-defined]
        yield opened


async def played(ws: Any, steps: list[Any], missing: int = 0) -> list[list[Frame]]:
    """Send what was sent, and return what came after each step; so many answers may be missing."""
    came: list[list[Frame]] = []
    beats, names = itertools.count(), dict[str, str]()
    for step in steps:
        for frame in step["send"]:
            await ws.send_str(frame[4:] if isinstance(frame, str) else json.dumps(frame))
        came.append([])
        closes = any(isinstance(frame, dict) for frame in step["recv"])
        while len(came[-1]) < (99 if closes else len(step["recv"]) - missing):
            message = await ws.receive(timeout=5)
            if message.type is not aiohttp.WSMsgType.TEXT:
                came[-1].append({"closed": None if ws.close_code == 1006 else ws.close_code})
                return came
            came[-1].append(normal(json.loads(message.data), names))
        for _ in range(2):  # the second beat is read after whatever the first overtook has been answered
            beat = f"beat{next(beats)}"
            await ws.send_json([None, beat, "phoenix", "heartbeat", {}])
            while (frame := json.loads((await ws.receive(timeout=5)).data))[1] != beat:
                came[-1].append(normal(frame, names))
    return came


def normal(frame: Frame, names: dict[str, str]) -> Frame:
    """The frame with its presence refs numbered in the order of their coming."""
    if isinstance(frame, dict):
        return {
            key: names.setdefault(value, f"<phx_ref {len(names) + 1}>")
            if key in ("phx_ref", "phx_ref_prev")
            else normal(value, names)
            for key, value in sorted(frame.items(), key=lambda item: item[0] == "phx_ref")
        }
    return [normal(part, names) for part in frame] if isinstance(frame, list) else frame


def without_race(name: str, steps: list[list[Frame]]) -> list[list[Frame]]:
    """The answers with the races of real servers taken out: what may be missing, and what may swap."""
    steps = [sorted(step, key=json.dumps) if name.startswith("presence") else step for step in steps]
    if name == "leave":
        steps[2] = []
    if name == BURST:
        steps[1] = sorted((f for f in steps[1] if f[:2] != ["1", "2"]), key=json.dumps)
    return steps


def as_1_7(name: str, steps: list[list[Frame]]) -> list[list[Frame]]:
    """What 1.7 answers where it differs: errors without a reason, 1000, and stale pushes taken."""
    steps = copy.deepcopy(steps)
    for frame in itertools.chain.from_iterable(steps):
        if isinstance(frame, dict) and frame["closed"] == 1001:
            frame["closed"] = 1000
        elif isinstance(frame, list) and frame[3] == "phx_error":
            frame[4] = {}
    if name == "push_stale_join_ref":
        answered = {"response": {"x": 1}, "status": "ok"}
        steps[1] = [["1", "2", "call:1", "phx_reply", answered]]
    return steps


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_scenario_replays(connect: Any, name: str) -> None:
    """The sandbox answers each step as the real server did, frame by frame, up to three races."""
    async with connect() as ws:
        came = await played(ws, SCENARIOS[name], missing=name == BURST)
    recorded = [step["recv"] for step in SCENARIOS[name]]
    assert without_race(name, came) == without_race(name, recorded)


@pytest.mark.parametrize("connect", ["1.7"], indirect=True)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_scenario_replays_as_on_phoenix_1_7(connect: Any, name: str) -> None:
    """With the switch for 1.7, the six scenarios that differ there differ here."""
    recorded = as_1_7(name, [step["recv"] for step in SCENARIOS[name]])
    steps = [{**s, "recv": r} for s, r in zip(SCENARIOS[name], recorded, strict=True)]
    async with connect() as ws:
        came = await played(ws, steps, missing=name == BURST)
    assert without_race(name, came) == without_race(name, recorded)


class FirstSerializer:
    """A socket of version 1 under the hand of somebody who writes and reads version 2."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws

    async def send_str(self, text: str) -> None:
        try:
            join_ref, ref, topic, event, payload = json.loads(text)
        except ValueError:
            await self.ws.send_str(text)
            return
        body = {"join_ref": join_ref, "ref": ref, "topic": topic, "event": event, "payload": payload}
        await self.ws.send_json(body)

    async def send_json(self, frame: Frame) -> None:
        await self.send_str(json.dumps(frame))

    async def receive(self, timeout: float) -> Any:
        message = await self.ws.receive(timeout)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return message
        told = json.loads(message.data)
        frame = [told.get("join_ref"), *(told[name] for name in ("ref", "topic", "event", "payload"))]
        return message._replace(data=json.dumps(frame))

    @property
    def close_code(self) -> Any:
        return self.ws.close_code


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_scenario_replays_in_the_first_serializer(connect: Any, name: str) -> None:
    """Version 1 says the same, but for the join_ref, which it takes and never names."""
    recorded = [
        [[None, *frame[1:]] if isinstance(frame, list) else frame for frame in step["recv"]]
        for step in SCENARIOS[name]
    ]
    async with connect(vsn="1.0.0") as ws:
        came = await played(FirstSerializer(ws), SCENARIOS[name], missing=name == BURST)
    if name == BURST:  # without a join_ref the leave's reply is told by its ref alone
        came[1], recorded[1] = ([f for f in step if f[1] != "2"] for step in (came[1], recorded[1]))
    assert without_race(name, came) == without_race(name, recorded)


def test_six_scenarios_differ_on_phoenix_1_7() -> None:
    """As was seen on real servers: a stale push, four payloads of phx_error, one close code."""
    recorded = {name: [step["recv"] for step in steps] for name, steps in SCENARIOS.items()}
    assert sum(as_1_7(name, steps) != steps for name, steps in recorded.items()) == 6


QUERIES: dict[str, dict[str, str]] = {
    "bad_token": {"token": "bad", "vsn": "2.0.0"},
    "no_token": {"vsn": "2.0.0"},
    "error_tuple": {"token": "reason:x", "vsn": "2.0.0"},
    "vsn_9": {"token": "user:g", "vsn": "9.0.0"},
    "vsn_junk": {"token": "user:g", "vsn": "junk"},
    "vsn_missing": {"token": "user:g"},
    "vsn_2.0.9": {"token": "user:g", "vsn": "2.0.9"},
    "vsn_1": {"token": "user:g", "vsn": "1.0.0"},
    "plain_get": {"token": "user:g", "vsn": "2.0.0"},
    "plain_post": {"token": "user:g", "vsn": "2.0.0"},
}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("name", RECORDED["http"])
async def test_a_recorded_request_has_its_status(connect: Any, name: str) -> None:
    """An upgrade is agreed to, refused or no upgrade at all, as it was on the real server."""
    method = "POST" if name == "plain_post" else "GET"
    headers = {} if name.startswith("plain") else UPGRADE
    async with (
        asyncio.timeout(5),
        connect.http.request(method, connect.url, params=QUERIES[name], headers=headers) as response,
    ):
        assert response.status == RECORDED["http"][name]
