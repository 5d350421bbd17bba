"""A plugin that misbehaves disturbs nobody but itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.journeys.conftest import likeness, sidecar
from voki_bots import Attendance, Bot, Plugin, PluginSettings
from voki_bots.testing.sim import Sim

PACKETS = 150


class Raising(Plugin[PluginSettings]):
    """Raise in every callback."""

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        def bad(_: object) -> None:
            raise RuntimeError("bad sink")

        async def bad_work() -> None:
            raise RuntimeError("bad work")

        call.packets(bad)
        call.listen(bad)
        call.start_soon(bad_work())
        yield
        raise RuntimeError("bad ending")


class Sleeping(Plugin[PluginSettings]):
    """Sleep for ever in every callback."""

    woken = threading.Event()

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        call.packets(lambda _: self.woken.wait(60))
        call.listen(lambda _: self.woken.wait(60))
        call.start_soon(asyncio.sleep(1e6))
        await asyncio.sleep(1e6)
        yield


async def test_the_recorder_is_not_disturbed(sim: Sim) -> None:
    """One plugin raises everywhere, one sleeps for ever: both are detached, the recording is whole."""
    call = await sim.call()
    Sleeping.woken.clear()
    bot = Bot("minutes").use(Raising).use(Sleeping).record()

    @bot.on_join()
    async def angry(call: Attendance, who: object) -> None:
        raise RuntimeError("bad handler")

    try:
        async with sim.attend(call, bot) as session:
            await call.heard_by_bots(PACKETS)
            await call.until(lambda _: len(session.snapshot().detached) == 2, "both plugins detached")
    finally:
        Sleeping.woken.set()
    like = await likeness(call, session.directory)
    found = sidecar(session.directory)
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
    assert {entry["plugin"] for entry in found["plugins_detached"]} == {"raising", "sleeping"}
    assert found["invariant"]["ok"]


class Blocking(Plugin[PluginSettings]):
    """Hold the event loop for ever, as nobody should."""

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        call.start_soon(self.wait_and_block())
        yield

    async def wait_and_block(self) -> None:
        await asyncio.sleep(2.0)
        time.sleep(3600)


async def test_blocking_the_event_loop_loses_no_packet(sim: Sim) -> None:
    """A coroutine that sleeps without `await` is interrupted and detached; no packet is lost."""
    call = await sim.call()
    async with sim.attend(call, Bot("minutes").use(Blocking).record()) as session:
        await call.until(lambda _: "blocking" in session.snapshot().detached, "the plugin being detached")
        await call.heard_by_bots(2 * PACKETS)
    like = await likeness(call, session.directory)
    found = sidecar(session.directory)
    missing = [g for t in found["tracks"] for g in t["gaps"] if g["cause"] in ("lost", "redial", "stalled")]
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
    assert "held the event loop" in found["plugins_detached"][0]["why"]
    assert missing == []
