"""At its start the service lets plugins see to what an earlier run left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voki_bots import Bot, Plugin, PluginSettings, Rule

pytestmark = pytest.mark.journey


class Keeper(Plugin[PluginSettings]):
    """Looks after the archive for as long as the service runs, or fails at once."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(PluginSettings(), name="broken" if fails else "keeper")
        self.fails = fails
        self.asked: asyncio.Queue[Path] = asyncio.Queue()
        self.cancelled = False

    async def recover(self, archive: Path) -> None:
        self.asked.put_nowait(archive)
        if self.fails:
            raise OSError("the disk")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_plugins_look_after_the_archive_while_the_service_runs(
    running: Callable[..., Any], tmp_path: Path
) -> None:
    """Each is asked once, with the archive's directory; one that fails harms nobody; the stop ends it."""
    keeper, broken = Keeper(), Keeper(fails=True)
    async with running(Bot("minutes", join=Rule(departments=("none",))).use(broken).use(keeper)) as service:
        async with asyncio.timeout(10.0):
            assert [await each.asked.get() for each in (broken, keeper)] == [tmp_path / "calls"] * 2
        assert await service.ready()
        assert 'voki_bots_plugin_recover_failures_total{bot="minutes"' in (await service.get("/metrics"))[1]
    assert keeper.cancelled
