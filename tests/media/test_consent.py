"""How soon a far end that is gone is noticed, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aioice.stun
import pytest

from voki_bots.media.quirks import Pulse, watch_consent

PATIENCE = 2.25


class Connection:
    """An ICE connection whose far end answers until it is gone; half a second without an answer is none."""

    remote_password = "p"

    def __init__(self) -> None:
        self.gone = False
        self.closed: float | None = None
        self.asked: list[float] = []
        pair = SimpleNamespace(protocol=self, remote_addr=("127.0.0.1", 9))
        self._nominated = {1: pair}
        self._query_consent_task: Any = None

    async def query_consent(self) -> None: ...

    def build_request(self, pair: Any, nominate: bool) -> Any:
        return None

    async def request(self, request: Any, addr: Any, *, integrity_key: bytes, retransmissions: int) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.gone:
            await asyncio.sleep(0.5)
            raise aioice.stun.TransactionTimeout

    async def close(self) -> None:
        self.closed = asyncio.get_running_loop().time()


def watched() -> tuple[Connection, Pulse, asyncio.Task[None], list[str]]:
    connection, lost = Connection(), list[str]()
    pulse = Pulse(asyncio.get_running_loop().time)
    dtls: Any = SimpleNamespace(transport=SimpleNamespace(_connection=connection))
    watch_consent(dtls, pulse, patience=PATIENCE, jitter=lambda: 0.5, lost=lost.append)
    return connection, pulse, asyncio.create_task(connection.query_consent()), lost


@pytest.mark.looptime
@pytest.mark.parametrize("phase", [0.0, 0.1, 0.37, 0.499])
async def test_a_far_end_that_falls_silent_is_noticed_in_time(phase: float) -> None:
    """Wherever the last packet lies between two looks: three questions unanswered, within `PATIENCE`."""
    connection, pulse, task, lost = watched()
    for _ in range(round((4.0 + phase) * 50)):
        await asyncio.sleep(0.02)
        pulse.at = pulse.clock()
    connection.gone, before = True, len(connection.asked)
    last = pulse.at
    await asyncio.sleep(PATIENCE + 0.05)
    assert connection.closed is not None and connection.closed - last <= PATIENCE + 0.02
    assert (len(connection.asked) - before, len(lost), task.done()) == (3, 1, True)


@pytest.mark.looptime
async def test_a_quiet_far_end_that_answers_is_kept() -> None:
    """It is asked a little more often than once a second, and no more."""
    connection, _, task, lost = watched()
    await asyncio.sleep(30.0)
    assert (lost, task.done(), 30 <= len(connection.asked) <= 41) == ([], False, True)
    task.cancel()
    await asyncio.wait([task])
