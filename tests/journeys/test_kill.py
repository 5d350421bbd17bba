"""The bot's process is killed in the middle of a call."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.journeys.conftest import RATE, environment, eventually, journal, program
from voki_bots.archive.journal import check_chain
from voki_bots.archive.seal import seal, verify
from voki_bots.testing.signals import correlation, decode
from voki_bots.testing.sim import Sim

LOSS = 1.0
"""Seconds before a kill that may be lost."""


async def test_kill_minus_nine_loses_a_second_at_most(sim: Sim, tmp_path: Path) -> None:
    """After kill -9 every file decodes to at most 1 s before the kill, and the folder can be sealed."""
    call = await sim.call()
    out = tmp_path / "calls"
    folder = out / sim.tenant / call.id
    env = environment(await sim.user())
    async with program("join", call.id, "--output", str(out), "--seconds", "60", env=env) as bot:
        await eventually(lambda: len(list(folder.glob("tracks/*.opus"))) == 2, "two files being written", 30)
        await call.heard_by_bots(250)
        before = await call.state()
        os.kill(bot.process.pid, signal.SIGKILL)
        assert await bot.ended() == -signal.SIGKILL
    heard = {p["role"]: before["bots"][0]["forwarded"][p["id"]] * 0.02 for p in before["people"]}
    for person in call.people:
        recorded = decode(folder / f"tracks/{person.role}-1.0.opus", RATE)
        voice = decode(await call.sent(person, tmp_path / f"{person.role}.opus"), RATE)
        assert len(recorded) / RATE >= heard[person.role] - LOSS
        assert correlation(recorded, voice) >= 0.99
    assert check_chain(journal(folder)) == []
    seal(folder)
    assert verify(folder) == []
