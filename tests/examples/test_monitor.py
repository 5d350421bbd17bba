"""``examples/monitor.py`` keeps what is heard of a call of a running service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from tests.examples.conftest import EXAMPLES
from tests.service.conftest import running  # noqa: F401 - a fixture
from tests.service.test_supervision import TOKEN, supervised
from voki_bots.testing.signals import assert_tone, decode
from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_one_side_is_written(
    running: Any,  # noqa: F811
    sim: Sim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The customer's tone, and not the attendant's; a wrong token ends it."""
    monitor = run_path(str(EXAMPLES / "monitor.py"))["monitor"]
    async with supervised(running, sim, tmp_path, monkeypatch) as (call, service, _):
        heard = tmp_path / "heard.wav"
        where = service.url, sim.tenant, call.id, str(heard)
        await monitor(*where, TOKEN, side="customer", seconds=2.0)
        assert_tone(500, await asyncio.to_thread(decode, heard), at=1.2)
        with pytest.raises(SystemExit, match="side"):
            await monitor(*where, TOKEN, side="left")
