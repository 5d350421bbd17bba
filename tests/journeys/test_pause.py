"""A call is paused by command, its service is killed, and it comes back paused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.journeys.conftest import environment, eventually, journal, program, sidecar
from tests.service.conftest import free_port
from voki_bots.archive.seal import verify
from voki_bots.testing.signals import assert_tone, decode
from voki_bots.testing.sim import Sim


async def said(*arguments: str, env: dict[str, str]) -> tuple[int, Any]:
    """Run ``voki-bots calls … --json``; give its exit code and what it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voki_bots", "calls", *arguments, "--json", env=env,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    return child.returncode or 0, json.loads(out or b"null")


async def test_a_paused_call_comes_back_paused_after_a_kill(sim: Sim, tmp_path: Path) -> None:
    """No file grows from the pause to the resumption, over a kill -9 of the service; each is journalled."""
    call = await sim.call(
        {"role": "customer", "tone": 500},
        {"role": "attendant", "tone": 300},
        switches={"msid_user_ids": True},
    )
    folder, config = tmp_path / "calls" / sim.tenant / call.id, tmp_path / "bots.toml"
    config.write_text(
        f'[service]\nport = {free_port()}\npoll = 0.5\n[[bots]]\nname = "minutes"\nplugins = ["recorder"]\n'
        f'join = {{ departments = ["{call.call.department_id}"] }}\n'
        f'[bots.recorder]\ndirectory = "{tmp_path / "calls"}"\n'
    )
    env = environment(await sim.user(), VOKI_CONTROL_TOKEN="a-token-of-the-tests")
    options = ("--config", str(config))
    async with program("run", str(config), env=env) as bot:
        await call.heard_by_bots(100)
        pause = ("pause", call.id, *options, "--reason", "card", "--as", "ana")
        code, (state,) = await said(*pause, env=env)
        assert (code, state["pauses"][0]["actor"]) == (0, "api:ana")
        os.kill(bot.process.pid, signal.SIGKILL)
        await bot.ended()
    async with program("run", str(config), env=env):
        await eventually(lambda: _count(folder, "media_connected") == 2, "the bot being back", 30)
        await eventually(lambda: _count(folder, "track_attributed") >= 4, "both being known again", 20)
        (state,) = (await said("list", *options, env=env))[1]
        assert state["paused"] and state["pauses"][0]["reason"] == "card"
        held = [len(decode(file)) for file in sorted(folder.glob("tracks/*.1.opus"))]
        assert not any(held)
        assert (await said("resume", call.id, *options, "--as", "bob", env=env))[0] == 1
        assert (await said("resume", call.id, *options, "--as", "ana", env=env))[0] == 0
        again = folder / "tracks/customer-1.1.opus"
        await eventually(lambda: again.exists() and again.stat().st_size > 5000, "recording going on", 20)
        await call.end()
        await eventually(lambda: sidecar(folder)["sealed"], "the folder being sealed", 30)
    assert_tone(500, again, at=0.2)
    first, second = sidecar(folder)["masks"]
    assert (first["actor"], second["actor"], second["resumed_by"]) == ("api:ana", "api:ana", "api:ana")
    for track in sidecar(folder)["tracks"]:
        if track["start"] >= second["start"]:
            masked = [gap for gap in track["gaps"] if gap["cause"] == "masked"]
            assert abs(max(gap["end"] for gap in masked) - second["end"]) < 0.1
    assert verify(folder) == []


def _count(folder: Path, type_: str) -> int:
    return sum(line["type"] == type_ for line in journal(folder))
