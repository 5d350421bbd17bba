"""Janus' VideoRoom as an SFU that we did not write; ours are the Peers, and this adapter.

It runs in a network namespace with one address, as libnice gathers none on loopback.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse

from tests.oracles.places import Namespace, answers, needs, needs_namespaces, program
from voki_bots.media.opus import Decoder
from voki_bots.media.peer import Peer, Received
from voki_bots.media.prompts import Mixer, Prompt
from voki_bots.testing.signals import Samples, heard, tone

HOST, PORT, ROOM = "10.79.0.1", 8188, 1234
RATE = 16_000
ANSWER = 20.0


def write_configuration(directory: Path) -> Path:
    """Write the least that Janus needs: VideoRoom over a websocket, and one address."""
    modules = next(iter(sorted(Path("/usr/lib").glob("*/janus"))), None)
    if modules is None:
        pytest.skip("janus' modules are not where Debian puts them")
    others = {
        kind: ",".join(sorted(one.name for one in (modules / kind).glob("*.so") if keep not in one.name))
        for kind, keep in (("plugins", "videoroom"), ("transports", "websockets"))
    }
    (directory / "janus.jcfg").write_text(
        f"""
general: {{
  configs_folder = "{directory}"
  plugins_folder = "{modules}/plugins"
  transports_folder = "{modules}/transports"
  events_folder = "{directory}"
  loggers_folder = "{directory}"
  debug_level = 3
  session_timeout = 0
}}
nat: {{ ice_enforce_list = "{HOST}" }}
plugins: {{ disable = "{others["plugins"]}" }}
transports: {{ disable = "{others["transports"]}" }}
"""
    )
    (directory / "janus.transport.websockets.jcfg").write_text(
        f'general: {{ ws = true\n ws_port = {PORT}\n ws_ip = "{HOST}" }}\n'
    )
    (directory / "janus.plugin.videoroom.jcfg").write_text("general: {}\n")
    return directory / "janus.jcfg"


@pytest.fixture(scope="module")
def janus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A running Janus, and the namespace that it is in."""
    needs_namespaces()
    needs("janus")
    directory = tmp_path_factory.mktemp("janus")
    configuration = write_configuration(directory)
    with ExitStack() as stack:
        place = stack.enter_context(Namespace())
        place.ip("link", "add", "room", "type", "bridge")
        place.ip("link", "set", "room", "addrgenmode", "none", "up")
        place.ip("addr", "add", f"{HOST}/24", "dev", "room")
        log = directory / "janus.log"
        with place.inside():
            command = ["janus", "-F", str(directory), "-C", str(configuration), "-L", str(log), "-N"]
            process = stack.enter_context(program(command))
            answers(HOST, PORT, process, log)
        yield place


class Plugin:
    """One handle: a publisher, or a subscriber."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number

    async def ask(self, request: str, jsep: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        """Ask for something; gives the event that answers, with ``jsep`` if there is one."""
        message = {"janus": "message", "handle_id": self._number, "body": {"request": request, **body}}
        answer = await self._client.ask(message | ({"jsep": jsep} if jsep else {}))
        found: dict[str, Any] = answer["plugindata"]["data"]
        assert "error" not in found, found
        if "jsep" in answer:
            found["jsep"] = answer["jsep"]
        return found


class Client:
    """One session with Janus over a websocket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session: int | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Take what Janus says."""
        async for message in self._socket:
            said = json.loads(message.data)
            waiting = self._waiting.get(said.get("transaction", ""))
            if waiting is not None and said["janus"] != "ack" and not waiting.done():
                waiting.set_result(said)

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request; gives what answers it."""
        transaction = str(next(self._numbers))
        answer = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        if self._session is not None:
            message = message | {"session_id": self._session}
        await self._socket.send_json(message | {"transaction": transaction})
        async with asyncio.timeout(ANSWER):
            said: dict[str, Any] = await answer
        assert said["janus"] != "error", said
        return said

    async def begin(self) -> None:
        """Make a session."""
        self._session = (await self.ask({"janus": "create"}))["data"]["id"]

    async def attach(self) -> Plugin:
        """Make a handle of the VideoRoom."""
        made = await self.ask({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return Plugin(self, made["data"]["id"])


class Feed:
    """Somebody who publishes one tone."""

    def __init__(self, plugin: Plugin, number: int, peer: Peer) -> None:
        self.plugin = plugin
        self.number = number
        self.peer = peer

    def stream(self) -> dict[str, Any]:
        """As a subscription names it."""
        return {"feed": self.number, "mid": self.peer.lines[0].mid}


class Ears:
    """Whoever subscribes, and what came on each m-line."""

    def __init__(self, plugin: Plugin, peer: Peer, came: dict[str, list[Received]]) -> None:
        self.plugin = plugin
        self.peer = peer
        self.came = came

    async def follow(self, request: str, **body: Any) -> dict[str, Any]:
        """Change the subscription, and answer the offer that comes of it."""
        return await self._answered(await self.plugin.ask(request, **body))

    async def _answered(self, told: dict[str, Any]) -> dict[str, Any]:
        if "jsep" in told:
            answer = {"type": "answer", "sdp": await self.peer.answer(told["jsep"]["sdp"])}
            await self.plugin.ask("start", answer)
        return told

    async def hears(self, *hertz: int, timeout: float = 15.0) -> list[int]:
        """Wait until just these tones are heard now, one on each m-line; gives them in order of the lines."""
        wanted, deadline = sorted(hertz), time.monotonic() + timeout
        while True:
            self.came.clear()
            await asyncio.sleep(0.6)
            now = {mid: _hertz(packets) for mid, packets in sorted(self.came.items()) if len(packets) > 20}
            if sorted(_nearest(hz, wanted) for hz in now.values()) == wanted:
                return list(now.values())
            assert time.monotonic() < deadline, f"expected {wanted}, heard {now}"


def _hertz(packets: list[Received]) -> int:
    decoder = Decoder(RATE)
    samples: Samples = np.concatenate([decoder.decode(packet.payload) for packet in packets])
    return round(heard(samples, RATE).hz)


def _nearest(hz: int, wanted: list[int]) -> int:
    return min(wanted, key=lambda one: abs(one - hz)) if min(abs(one - hz) for one in wanted) < 20 else hz


class VideoRoom:
    """A room in which Peers of ours publish and subscribe."""

    def __init__(self, client: Client, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._stack = stack
        self._tasks = tasks
        self._numbers = itertools.count(1)

    async def publish(self, hertz: int) -> Feed:
        """Let a Peer join and speak a tone for as long as the test takes."""
        clock = asyncio.get_running_loop().time
        mixer = Mixer(clock)
        peer = await self._stack.enter_async_context(
            Peer(0, voice=mixer, on_packet=lambda _: None, clock=clock)
        )
        number, plugin = next(self._numbers), await self._client.attach()
        await plugin.ask("join", ptype="publisher", room=ROOM, id=number)
        offer = {"type": "offer", "sdp": await peer.offer()}
        await peer.accept((await plugin.ask("publish", offer))["jsep"]["sdp"])
        await peer.connected(15.0)
        prompt = Prompt.from_pcm(tone(hertz, 60.0, amplitude=0.3))
        speaking = self._tasks.create_task(mixer.say(prompt))
        self._stack.callback(speaking.cancel)
        return Feed(plugin, number, peer)

    async def subscribe(self, *feeds: Feed) -> Ears:
        """Let a Peer hear some of the feeds."""
        came: dict[str, list[Received]] = defaultdict(list)
        peer = await self._stack.enter_async_context(
            Peer(
                0,
                on_packet=lambda packet: came[packet.mid].append(packet),
                clock=asyncio.get_running_loop().time,
            )
        )
        ears = Ears(await self._client.attach(), peer, came)
        streams = [feed.stream() for feed in feeds]
        await ears.follow("join", ptype="subscriber", room=ROOM, streams=streams)
        await peer.connected(15.0)
        return ears


@asynccontextmanager
async def _opened() -> AsyncIterator[VideoRoom]:
    async with ClientSession() as http, AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        url = f"ws://{HOST}:{PORT}/"
        socket = await stack.enter_async_context(http.ws_connect(url, protocols=["janus-protocol"]))
        client = Client(socket)
        reading = tasks.create_task(client.read())
        await client.begin()
        plugin = await client.attach()
        await plugin.ask("create", room=ROOM, publishers=8, audiocodec="opus", permanent=False)
        async with AsyncExitStack() as people:
            yield VideoRoom(client, people, tasks)
        await plugin.ask("destroy", room=ROOM)
        reading.cancel()


@pytest.fixture
async def room(janus: Namespace) -> AsyncIterator[VideoRoom]:
    """A new room; the test is where Janus is."""
    with janus.inside():
        async with _opened() as made:
            yield made
