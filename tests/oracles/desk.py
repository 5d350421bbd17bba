"""A served console over calls that a test plays: the far end of its pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.oracles.chromium.browser import Page
from tests.service.served import made, serving
from voki_bots.bots.bus import Bus
from voki_bots.bots.desk import Supervised
from voki_bots.bots.gate import Closing, Refusal
from voki_bots.bots.pauses import Pause
from voki_bots.calls import (
    Attribution,
    Call,
    Participant,
    Role,
    Supervision,
    Track,
    TrackMeasured,
    UtteranceHeard,
)
from voki_bots.service import console
from voki_bots.service.access import Access, Grant, Principal, Rank
from voki_bots.service.delivery import Delivery
from voki_bots.service.floor import Floor
from voki_bots.service.recordings import Recordings
from voki_bots.testing.signals import packets, tone

TOKEN = "a-token-of-the-tests"
VIEWER = "a-token-of-a-viewer"
TRACK = Track(0, "1", 1)
EVIL = "<img src=x onerror=\"document.title='broken in'\">"
KIM = UtteranceHeard("u1", 0, False, "meu cartão", Role.CUSTOMER, "c", 3.0, 4.0, name="Carlos Lima")
ANA = UtteranceHeard("u2", 0, False, "claro", Role.ATTENDANT, "a", 5.0, 6.0, name="Ana Souza")


class Session:
    """What the console is told of: a call that is played here."""

    def __init__(self, call_id: str) -> None:
        self.call = Call("acme", call_id)
        self.bus, self.bot, self.now = Bus(), "minutes", 12.0
        self.privacy = Privacy()
        self.roster = SimpleNamespace(
            who=lambda track: Attribution(Participant("a", "Ana", Role.ATTENDANT), 1.0)
        )

    def publish(self, event: Any) -> None:
        self.bus.publish(event)

    def snapshot(self) -> Any:
        return SimpleNamespace(
            bot=self.bot,
            call=self.call,
            now=self.now,
            connected=True,
            paused=bool(self.privacy.pauses),
            consented=True,
            pauses=self.privacy.pauses,
            participants=(
                ("Ana Souza", "attendant", True),
                (EVIL, "customer", True),
                ("Marina", "supervisor", False),
            ),
            tracks=((str(TRACK), "attendant", -18.0), ("0:2:2", "customer", -42.0)),
            detached={"quality": "RuntimeError: no model"},
            plugins=("recorder", "supervisor", "quality"),
            quality=(TrackMeasured(TRACK, 5.0, 250, 0.012, 0.004, 0.03, 4.2),),
        )


class Privacy:
    """Keeps who has paused."""

    def __init__(self) -> None:
        self.pauses: tuple[Pause, ...] = ()

    def pause(self, actor: str, *, reason: str, seconds: float | None) -> None:
        self.pauses = (Pause(actor, 12.0, reason, None),)

    def resume(self, actor: str, *, everyone: bool) -> None:
        self.pauses = ()


class Sat:
    """A place at the desk: it plays a tone to whoever listens, and keeps what is said."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = asyncio.Event()
        self.modes = (Supervision.WHISPER, Supervision.BARGE)
        self.voice = True
        self.said: list[tuple[Supervision, np.ndarray]] = []
        self.texts: list[tuple[Supervision, str]] = []
        self.sides: list[str] = []
        self.refuse: Closing | None = None
        self.talking = False
        self._mode: Supervision | None = None
        self._why = ""
        self._playing: asyncio.Task[None] | None = None

    def seen(self) -> Supervised:
        state = "closed" if self._why else ("open" if self.talking else "listening")
        return Supervised(self.name, self._mode, state, self.talking, self._why, "")

    async def listen(self, side: str, sink: Any) -> None:
        self.sides.append(side if sink else "none")
        self.close()
        if sink is not None:
            self._mode = Supervision.MONITOR
            self._playing = asyncio.create_task(self._play(sink))

    async def _play(self, sink: Any) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for n, packet in enumerate(packets(tone(500, 60.0), TRACK)):
            await asyncio.sleep(max(0.0, start + n * 0.02 - loop.time()))
            sink.write(packet)

    async def speak(self, mode: Supervision, live: Any) -> float:
        if self.refuse is not None:
            self._why = str(self.refuse)
            raise Refusal(self.refuse).error(str(mode))
        self._mode, self.talking, self._why = mode, True, ""
        frames: list[np.ndarray] = []
        try:
            while len(frames) < live.frames:
                frames.append(live.frame(len(frames)))
                await asyncio.sleep(0.02)
        finally:
            self.talking = False
            self.said.append((mode, np.concatenate(frames)))
        return float(live.seconds)

    async def say(self, mode: Supervision, text: str) -> float:
        self.texts.append((mode, text))
        return 1.5

    def close(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            self._playing = None


class Plugged:
    """The plugin at whose desk people sit."""

    def __init__(self) -> None:
        self.chairs: list[Sat] = []
        self.refuse: Closing | None = None

    def attends(self, key: tuple[str, str]) -> bool:
        return True

    def seated(self, key: tuple[str, str]) -> list[Supervised]:
        return [each.seen() for each in self.chairs if not each.over.is_set()]

    @asynccontextmanager
    async def sit(self, key: tuple[str, str], name: str) -> AsyncIterator[Sat]:
        chair = Sat(name)
        chair.refuse = self.refuse
        self.chairs.append(chair)
        try:
            yield chair
        finally:
            chair.over.set()
            chair.close()


class Desk:
    """A served console, and the calls that it shows."""

    def __init__(self, archive: Path) -> None:
        self.sessions: list[Session] = []
        self.url = ""
        self.plugin = Plugged()
        self.archive = archive
        self.floor = Floor("acme", lambda: 60.0)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        clock = asyncio.get_running_loop().time
        access = Access(TOKEN, [Grant(Principal("olga", Rank.VIEWER, frozenset({"acme"})), VIEWER)])
        delivery = Delivery(access, clock=clock)
        shelves = Recordings([self.archive], access, clock=clock)
        routers = [console.routes(), shelves.routes(), self.floor.routes(access)]
        more = {"delivery": delivery, "clock": clock, "desks": [("minutes", self.plugin)]}
        app = made(access, sessions=self.sessions, routers=routers, **more)
        known = list(self.sessions)
        tasks = [asyncio.create_task(delivery.follow(each)) for each in known]  # type: ignore[arg-type]
        async with serving(app) as port:
            self.url = f"http://127.0.0.1:{port}"
            try:
                yield
            finally:
                for session in known:
                    session.bus.close()
                delivery.stop()
                await asyncio.gather(*tasks)


async def enter(page: Page, token: str = TOKEN) -> None:
    """Show a token to a page that asks for one."""
    await page.true("document.querySelector('.ask input')")
    await page.run(f"document.querySelector('.ask input').value = '{token}'")
    await page.run("document.querySelector('.ask button').click()")
