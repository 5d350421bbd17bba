"""What the recorder's promises cost in the long run."""

import asyncio
import random
import resource
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from voki_bots_recorder.files import TrackFiles

from tests.archive.test_hour import record, stream
from voki_bots import Track
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.pool import FinishPool
from voki_bots.testing import FakeAttendance

pytestmark = pytest.mark.soak

LAG = 0.020
"""Seconds by which the event loop of live calls may be late, 99 times of 100."""


@dataclass
class Lag:
    """Measures how late the event loop runs, every 5 ms."""

    late: list[float] = field(default_factory=list)

    async def measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            self.late.append(loop.time() - due)

    @property
    def p99(self) -> float:
        return sorted(self.late)[len(self.late) * 99 // 100]


async def test_ten_finishes_do_not_delay_live_calls(desk: Any, tmp_path: Path) -> None:
    """While ten calls are finished, the event loop is late by less than 20 ms in 99 of 100 cases."""
    first = await record(desk, {"attendant": 10.0, "customer": -10.0}, 300.0)
    folders = [Path(shutil.copytree(first, tmp_path / f"copies/acme/c-{n}")) for n in range(10)]
    pool, lag = FinishPool(), Lag()
    measuring = asyncio.create_task(lag.measure())
    await asyncio.gather(*(pool.finish(folder, FinishOptions()) for folder in folders))
    measuring.cancel()
    await asyncio.wait([measuring])
    assert lag.p99 < LAG, f"late by {lag.p99 * 1000:.1f} ms"


async def test_fifty_calls_of_an_hour_need_constant_memory(tmp_path: Path) -> None:
    """Fifty calls at once, an hour each in compressed time, take no more at the end."""
    calls = [FakeAttendance(tmp_path / f"c-{n}") for n in range(50)]
    for call in calls:
        call.directory.mkdir()
    sinks = [TrackFiles(call) for call in calls]
    streams = [stream(Track(0, "1", n), 20.0, 3600.0, random.Random(n)) for n in range(50)]
    sizes = []
    for _minute in range(60):
        for sink, arriving in zip(sinks, streams, strict=True):
            for _second in range(60):
                for _ in range(50):
                    if (packet := next(arriving, None)) is not None:
                        sink.write(packet)
                sink.flush()
            await asyncio.sleep(0)
        for call in calls:
            call.journalled.clear()
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    for sink in sinks:
        await asyncio.to_thread(sink.close)
        await sink.closed.wait()
    assert sizes[-1] < sizes[1] + 10.0, f"{sizes[1]:.0f} MB became {sizes[-1]:.0f} MB"
