"""A call in the sandbox between two browsers, and a bot in it.

::

    customer's home 10.78.1.2 ──── office 10.78.0.1 ──── 10.78.2.2 attendant's desk

The sandbox, the bot and the tests are in the office. Where no namespaces can be made all are on loopback.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from aiohttp import web

from tests.journeys.conftest import sidecar
from tests.oracles.chromium.browser import Browser, Page, chromium
from tests.oracles.places import Namespace, namespaces_missing, needs
from voki_bots import Attendance, Bot, Plugin, PluginSettings
from voki_bots.bots.session import CallSession
from voki_bots.calls import Call
from voki_bots.testing.signals import Samples, decode, tone
from voki_bots.testing.sim import SandboxProcess, Sim, SimCall

OFFICE = "10.78.0.1"
RATE = 48_000
HUM = 523
"""Hertz of what the attendant's microphone hears; the customer's hears speech."""

SPEECH = Path(__file__).parents[3] / "voki_bots" / "sandbox" / "speech" / "pt" / "pt00.opus"


class Town:
    """The office and the two places, or loopback alone."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        needs("chromium")
        self.office: Namespace | None = None
        self.home: Namespace | None = None
        self.desk: Namespace | None = None
        self.host = "127.0.0.1"
        self.apart = namespaces_missing()
        if self.apart is None:
            office, home, desk = (stack.enter_context(Namespace()) for _ in range(3))
            self.office, self.home, self.desk = office, home, desk
            self.host = OFFICE
            office.ip("addr", "add", f"{OFFICE}/32", "dev", "lo")
            for end, name, net in ((home, "home", "10.78.1"), (desk, "desk", "10.78.2")):
                office.link(end, name, f"{net}.1/24", f"{net}.2/24")
                end.ip("route", "add", "default", "via", f"{net}.1")
        with inside(self.office):
            arguments = ["--host", self.host, "--no-call", "--leg-grace", "2"]
            self.sandbox = stack.enter_context(SandboxProcess(arguments))
            with socket.create_server((self.host, 0)) as free:
                self.page = f"http://{self.host}:{free.getsockname()[1]}/page.html"
        self.browsers = []
        for place, name, sound in (
            (self.home, "home", decode(SPEECH, RATE)),
            (self.desk, "desk", tone(HUM, 2.0)),
        ):
            flags = [f"--unsafely-treat-insecure-origin-as-secure={self.page.rpartition('/')[0]}"]
            if place is None:
                flags.append("--allow-loopback-in-peer-connection")
            wav = write_wav(directory / f"{name}.wav", sound)
            with inside(place):  # it is started in its place, and stays there
                self.browsers.append(stack.enter_context(chromium(directory / name, wav, *flags)))

    def cable(self, state: str) -> None:
        """Pull the cable of the customer's home (``down``) or plug it in (``up``)."""
        if self.office is None:
            pytest.skip(f"the network cannot be cut: {self.apart}")
        self.office.ip("link", "set", "home", state)


def inside(place: Namespace | None) -> Any:
    """Be in a place, or stay."""
    return place.inside() if place is not None else nullcontext()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Where it all is."""
    with ExitStack() as stack:
        yield Town(stack, tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def in_the_office(town: Town) -> Iterator[Town]:
    """This thread is where the sandbox is."""
    with inside(town.office):
        yield town


@pytest.fixture(scope="session")
def speech() -> Samples:
    """What the customer says, over and over."""
    return decode(SPEECH, RATE)


def write_wav(path: Path, samples: Samples) -> Path:
    """Write what a microphone is to hear."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype(np.int16).tobytes())
    return path


class Speaker(Plugin[PluginSettings]):
    """Says what it is told to."""

    call: Attendance

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        self.call = call
        yield


@dataclass
class Scene:
    """A call of two browsers with a bot in it."""

    town: Town
    home: Browser
    call: SimCall
    session: CallSession
    bot_id: str
    speaker: Speaker
    customer: Page
    attendant: Page
    seat: dict[str, Any] = field(repr=False)
    leaving: AsyncExitStack = field(repr=False)

    async def heard(self, packets: int, timeout: float = 20.0) -> None:
        """Wait until the bot was sent so many more packets of the customer's."""
        wanted = self._sent(await self.call.state()) + packets
        await self.call.until(lambda state: self._sent(state) >= wanted, f"{packets} packets", timeout)

    def member(self, state: dict[str, Any]) -> dict[str, Any]:
        """What the sandbox says of the customer; of the last time that he joined."""
        found: dict[str, Any] = max(
            (one for one in state["bots"] if one["user_id"] == self.customer_id),
            key=lambda one: one["joined_at"],
        )
        return found

    def _sent(self, state: dict[str, Any]) -> int:
        bot = next(one for one in state["bots"] if one["user_id"] == self.bot_id)
        return int(bot["forwarded"].get(self.customer_id, 0))

    @property
    def customer_id(self) -> str:
        """The customer's user id, which his token names."""
        claims = self.seat["token"].split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"])

    async def again(self) -> Page:
        """The customer opens the page anew and takes part with what the widget gave before."""
        page = await self.home.open(self.town.page)
        await page.call("join", self.seat)
        return page

    async def finish(self) -> dict[str, Any]:
        """Let the call end, and the bot write its recording; gives the sidecar."""
        await self.call.end()
        await self.leaving.aclose()
        return sidecar(self.session.directory)

    def voices(self, found: dict[str, Any], role: str) -> list[Samples]:
        """What the bot recorded of somebody, one file after another."""
        files = [track["file"] for track in found["tracks"] if track["role"] == role and track["file"]]
        return [decode(self.session.directory / file, RATE) for file in files]


def flowing(packets: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a page is connected, had no error and gets audio."""

    def enough(state: dict[str, Any]) -> bool:
        assert state["errors"] == []
        heard = max((one["packets"] for one in state["inbound"]), default=0)
        return state["connection"] == "connected" and heard >= packets

    return enough


@pytest.fixture
async def scene(in_the_office: Town, tmp_path: Path, speech: Samples) -> AsyncIterator[Scene]:
    """The customer follows the link, the attendant takes the call, the bot attends, then both join."""
    town = in_the_office
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_served(town.page))
        sim = await stack.enter_async_context(Sim(town.sandbox, tmp_path))
        home, desk = [await stack.enter_async_context(one.connected()) for one in town.browsers]
        customer, attendant = await asyncio.gather(home.open(town.page), desk.open(town.page))
        leaving = await stack.enter_async_context(AsyncExitStack())
        yield await _begun(town, sim, home, customer, attendant, leaving)


async def _begun(
    town: Town,
    sim: Sim,
    home: Browser,
    customer: Page,
    attendant: Page,
    leaving: AsyncExitStack,
) -> Scene:
    department = await sim.control("POST", "/departments", {})
    user = await sim.control("POST", "/users", {"name": "Ana", "role": "attendant"})
    place = {"url": sim.url, "tenant": sim.tenant}
    seat = await customer.call("follow", place | {"link": department["token"], "name": "Carlos"})
    signed_in = place | {"email": user["email"], "password": user["password"]}
    desk = await attendant.call("take", signed_in, seat["call_id"])
    call = SimCall(Call(sim.tenant, seat["call_id"], department_id=department["department_id"]), [], sim)
    account = await leaving.enter_async_context(sim.account())
    speaker = Speaker(PluginSettings(), name="speaker")
    bot = Bot("minutes", speaks=True).use(speaker).record()
    attending = sim.attend(call, bot, account=account)
    session = await leaving.enter_async_context(attending)
    scene = Scene(town, home, call, session, account.user_id, speaker, customer, attendant, seat, leaving)
    await call.until(lambda state: state["bots"][0]["connected"], "the bot's connection")
    await customer.call("join", seat)
    await scene.heard(75)
    await attendant.call("join", desk, {"video": False})
    await call.until(lambda _: len(session.pipeline.tracks) == 2, "the attendant's track")
    return scene


@asynccontextmanager
async def _served(address: str) -> AsyncIterator[None]:
    """Serve the page at its address."""
    text = (Path(__file__).parent / "page.html").read_text()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/page.html", page)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        parts = urlsplit(address)
        await web.TCPSite(runner, parts.hostname, parts.port).start()
        yield
    finally:
        await runner.cleanup()
