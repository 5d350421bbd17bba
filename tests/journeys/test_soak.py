"""What is too long for CI; `make soak` runs it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

from voki_bots import Bot
from voki_bots.media.tap import Lane
from voki_bots.testing.sim import Sim

CALLS = 100
SETTLED = 20
"""Calls after which everything that is made once has been made."""

GROWTH = 5_000_000
"""Bytes by which the memory after the last call may exceed that after `SETTLED` calls."""


def resident() -> int:
    """This process' resident memory in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """How many file descriptors are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_hundred_calls_leave_nothing_behind(sim: Sim) -> None:
    """After 100 calls, one after another: no task, thread or descriptor more, and no more memory."""
    seen: list[tuple[int, int, int, int]] = []
    bot = Bot("minutes").record()
    async with sim.account() as account:
        for number in range(1, CALLS + 1):
            call = await sim.call({"role": "attendant", "tone": 440}, {"role": "customer", "tone": 880})
            async with sim.attend(call, bot, account=account):
                await call.heard_by_bots(25)
            await call.end()
            await Lane.of("recorder").join()
            seen.append((len(asyncio.all_tasks()), threading.active_count(), descriptors(), resident()))
            if number % 10 == 0:
                print(f"call {number}: tasks, threads, descriptors, bytes = {seen[-1]}", flush=True)  # noqa: T201
    settled, last = seen[SETTLED - 1], seen[-1]
    assert last[:3] == settled[:3]
    assert last[3] - settled[3] <= GROWTH
