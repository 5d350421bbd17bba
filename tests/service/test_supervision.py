"""A person at the console, over the websocket: what they hear, who hears them, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.journeys.conftest import journal, sidecar
from tests.journeys.hearing import QUIET, level_of, loudest
from voki_bots import Bot
from voki_bots.archive.journal import read_journal
from voki_bots.testing.signals import assert_tone, tone
from voki_bots.testing.sim import Sim, SimCall

pytestmark = pytest.mark.journey

TOKEN = "a-token-of-the-tests"
VOICE = 1_100
PEOPLE = (
    {"role": "attendant", "name": "Ana", "tone": 300, "listens": True},
    {"role": "customer", "name": "Carlos", "tone": 500, "listens": True},
)


class Desk:
    """A page's end of the websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.said: list[dict[str, Any]] = []
        self.pcm: list[np.ndarray] = []
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.pcm.append(np.frombuffer(message.data, "<i2"))
            else:
                self.said.append(json.loads(message.data))
            self._more.set()

    async def close(self) -> None:
        await self.socket.close()
        await self._reading

    async def until(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Wait for a message of a type with these facts; it is taken."""
        async with asyncio.timeout(20.0):
            while True:
                for said in self.said:
                    if said["type"] == kind and all(said.get(key) == value for key, value in facts.items()):
                        self.said.remove(said)
                        return said
                self._more.clear()
                await self._more.wait()

    async def send(self, **message: Any) -> None:
        await self.socket.send_json(message)

    async def say(self, hertz: float, seconds: float) -> None:
        """Let a microphone give a tone, as it comes: 20 ms at a time."""
        samples = tone(hertz, seconds, 16_000)
        loop = asyncio.get_running_loop()
        start = loop.time()
        for n in range(len(samples) // 320):
            await asyncio.sleep(max(0.0, start + n * 0.02 - loop.time()))
            await self.socket.send_bytes(samples[n * 320 : (n + 1) * 320].astype("<i2").tobytes())

    async def heard(self, seconds: float) -> np.ndarray:
        """What comes in the next seconds, at 16 kHz."""
        self.pcm.clear()
        async with asyncio.timeout(20.0):
            while sum(map(len, self.pcm)) < seconds * 16_000:
                self._more.clear()
                await self._more.wait()
        return np.concatenate(self.pcm)


@asynccontextmanager
async def supervised(
    running: Any, sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **switches: Any
) -> AsyncIterator[tuple[SimCall, Any, Any]]:
    """A service whose bot attends a call, and how a desk is opened there."""
    own = await sim.user("Marina")
    secret = tmp_path / "password"
    secret.write_text(own.password())
    monkeypatch.setenv("VOKI_CONTROL_TOKEN", TOKEN)
    bot = Bot("minutes").record()
    bot.use(
        "supervisor",
        strategy={"by": "rest", "path": "/api/v1/calls/{call}/supervise"},
        login={"email": own.email, "password_file": str(secret)},
        voice="espeak-ng:pt-br",
    )
    call = await sim.call(*PEOPLE, switches={"supervise_by_rest": True, **switches})
    async with running(bot) as service, aiohttp.ClientSession() as http:
        await call.heard_by_bots(25)

        @asynccontextmanager
        async def desk(**headers: str) -> AsyncIterator[Desk]:
            url = f"{service.url}/api/v1/calls/{sim.tenant}/{call.id}/supervise"
            async with http.ws_connect(
                url, headers=headers or {"Authorization": f"Bearer {TOKEN}"}
            ) as socket:
                opened = Desk(socket)
                try:
                    yield opened
                finally:
                    await opened.close()

        yield call, service, desk


async def test_a_supervisor_listens_and_whispers(
    running: Any, sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides are heard, or one; a voice is whispered while a key is pressed; the audit has all of it."""
    async with supervised(running, sim, tmp_path, monkeypatch) as (call, _, open_desk), open_desk() as desk:
        hello = await desk.until("hello")
        assert (hello["modes"], hello["sides"], hello["voice"]) == (
            ["whisper", "barge"],
            ["attendant", "customer"],
            True,
        )
        await desk.send(listen="customer")
        await desk.until("listening", side="customer")
        await desk.heard(0.3)
        one = await desk.heard(0.6)
        assert_tone(500, one, rate=16_000)
        await desk.send(listen="all")
        await desk.until("listening", side="all")
        await desk.heard(0.3)
        both = await desk.heard(0.6)
        assert min(level_of(np.repeat(both, 3), hertz) for hertz in (300, 500)) > -20
        await desk.send(talk="whisper")
        await desk.until("state", state="open", talking=True, mode="whisper")
        await desk.say(VOICE, 1.0)
        levels = await desk.until("levels")
        while levels["mic"] is None:
            levels = await desk.until("levels")
        assert levels["mic"] == pytest.approx(-9.0, abs=1.5)
        await desk.send(talk=None)
        await desk.until("state", talking=False)
        await desk.send(say={"mode": "whisper", "text": "bom dia"})
        said = await desk.until("said")
        assert 0.3 < said["seconds"] < 3.0
        await asyncio.sleep(0.2)
        heard = await loudest(sim, call, tmp_path, VOICE)
        assert (heard["attendant"] > -20, heard["customer"] < QUIET) == (True, True)
    folder = tmp_path / "calls" / sim.tenant / call.id
    lines = [
        (line["type"], line.get("mode")) for line in journal(folder) if line.get("plugin") == "supervisor"
    ]
    assert lines[:1] + lines[-2:] == [("listening", None), ("spoke", "whisper"), ("listened", None)]
    acts = [line["type"] for line in read_journal(tmp_path / "calls" / ".access.jsonl")]
    assert acts == ["listened", "listened", "whispered", "whispered"]
    whispers = [each for each in sidecar(folder)["tracks"] if each["local"]]
    assert [each["role"] for each in whispers] == ["supervisor"]
    assert sidecar(folder)["finish"]["outputs"]


@pytest.mark.parametrize(
    ("headers", "said", "code"),
    [
        ({"Authorization": "Bearer wrong-token-of-nobody"}, None, 1008),
        ({"X-Nothing": "1"}, {"token": "wrong-token-of-nobody"}, 1008),
        ({"X-Nothing": "1"}, {"listen": "all"}, 1008),
    ],
)
async def test_nobody_else_sits_there(
    running: Any,
    sim: Sim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    said: dict[str, str] | None,
    code: int,
) -> None:
    """Without the token nothing is said and nothing heard."""
    async with supervised(running, sim, tmp_path, monkeypatch) as (_, _, open_desk):
        async with open_desk(**headers) as desk:
            if said:
                await desk.send(**said)
            async with asyncio.timeout(10.0):
                await desk._reading
            assert (desk.socket.close_code, desk.said, desk.pcm) == (code, [], [])
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with open_desk(Origin="http://evil.example", Authorization=f"Bearer {TOKEN}"):
                pass
        assert refused.value.status == 403


async def test_what_cannot_be_is_said_with_what_to_do(
    running: Any, sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word of the platform; messages that are none; and the end of the call."""
    switches = {"no_start": True}
    async with (
        supervised(running, sim, tmp_path, monkeypatch, **switches) as (call, _, open_desk),
        open_desk() as desk,
    ):
        await desk.until("hello")
        for wrong in ('{"talk": "monitor"}', "[1]", "{", '{"listen": 5}', "x" * 40_000):
            await desk.socket.send_str(wrong)
            assert (await desk.until("error"))["why"] == "bad_message"
        await desk.send(listen="left")
        assert (await desk.until("error"))["why"] == "side"
        await desk.send(offer="v=0")
        assert (await desk.until("error"))["why"] == "media"
        await desk.send(talk="whisper")
        error = await desk.until("error")
        assert (error["why"], "voki-bots probe" in error["message"]) == ("not_confirmed", True)
        assert (await desk.until("state", state="closed"))["why"]
        heard = await loudest(sim, call, tmp_path, VOICE)
        assert max(heard.values()) < QUIET
        await call.end()
        await desk.until("end")
