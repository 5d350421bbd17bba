"""The event loop is taken back from a plugin that blocks it."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator

import pytest

from voki_bots.bots.stall import BUDGET, NUMBER, StallGuard, running
from voki_bots.errors import PluginError


@pytest.fixture
async def guard() -> AsyncIterator[StallGuard]:
    """A guard that watches this loop."""
    watching = StallGuard(asyncio.get_running_loop())
    watching.acquire()
    yield watching
    watching.release()


async def in_a_plugin(block: object) -> None:
    running.set("bad")
    block()  # type: ignore[operator]


def sleep() -> None:
    time.sleep(60)


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize("block", [sleep, spin])
async def test_a_blocking_plugin_gets_an_error(guard: StallGuard, block: object) -> None:
    """A sleep and a busy loop are both interrupted, and the error names the plugin and the place."""
    with pytest.raises(PluginError, match="bad held the event loop for .* at test_stall.py line"):
        await asyncio.create_task(in_a_plugin(block))


async def test_what_is_no_plugins_is_left_alone(guard: StallGuard) -> None:
    """Code that no plugin runs is never interrupted, however long it takes."""
    began = time.monotonic()
    time.sleep(BUDGET + 0.6)
    assert time.monotonic() - began >= BUDGET + 0.6


async def test_nothing_is_left_after_the_last_user(guard: StallGuard) -> None:
    """The thread and the signal's handler are there while somebody uses the guard, and no longer."""
    guard.acquire()
    guard.release()
    names = [thread.name for thread in threading.enumerate()]
    assert "stall-guard" in names
    guard.release()
    assert "stall-guard" not in [thread.name for thread in threading.enumerate()]
    assert signal.getsignal(NUMBER) is signal.SIG_DFL
    guard.acquire()
