"""The bot's process, or the whole service, is killed in the middle of a call."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import RATE, environment, eventually, journal, program, sidecar
from tests.service.conftest import free_port
from voki_bots.archive.journal import check_chain, read_journal
from voki_bots.archive.seal import seal, verify
from voki_bots.testing.signals import correlation, decode, heard
from voki_bots.testing.sim import Sim, SimCall

LOSS = 1.0
"""Seconds before a kill that may be lost."""

QUIET = -50.0
"""dBFS. Of a pause between sentences two decoders that began at different packets give different noise."""


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


@pytest.mark.parametrize(
    ("seed", "kills"), [(1, 3), pytest.param(2, 20, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
async def test_a_service_that_is_killed_again_and_again_loses_a_second_each_time(
    sim: Sim, tmp_path: Path, seed: int, kills: int
) -> None:
    """Each start goes on with the call and knows the voices again; in the end it is finished and verifies.

    The platform does not say whose a track is, and of those who are there not even that they are.
    """
    rng = random.Random(seed)
    call = await sim.call("attendant", "customer")
    folder, config = tmp_path / "calls" / sim.tenant / call.id, tmp_path / "bots.toml"
    config.write_text(
        f'[service]\nport = {free_port()}\npoll = 0.5\n[[bots]]\nname = "minutes"\nplugins = ["recorder"]\n'
        f'join = {{ departments = ["{call.call.department_id}"] }}\n'
        f'[bots.recorder]\ndirectory = "{tmp_path / "calls"}"\n'
    )
    env = environment(await sim.user())
    for life in range(kills):
        async with program("run", str(config), env=env) as bot:
            await eventually(lambda n=life: len(_openings(folder)) > n, "the bot being in the call", 30)
            if life == 0:
                await eventually(lambda: len(_known(folder)) == 2, "both being known", 20)
            reached = await _heard(call, folder, rng.uniform(0.3, 3.0))
            os.kill(bot.process.pid, signal.SIGKILL)
            await bot.ended()
        for seconds, recorded in zip(sorted(reached.values()), _recorded(folder), strict=True):
            assert recorded >= seconds - LOSS, f"life {life}"
    async with program("run", str(config), env=env):
        await eventually(lambda: len(_openings(folder)) > kills, "the bot being in the call", 30)
        await eventually(lambda: _recorded(folder)[0] > 1.5, "the recording going on", 30)
        assert _known(folder) == {"attendant", "customer"}
        await call.end()
        await eventually(lambda: sidecar(folder)["finish"]["at"], "the finish", 40)
    alike = {}
    for person in call.people:
        voice = decode(await call.sent(person, tmp_path / f"{person.role}.opus"), RATE)
        for file in folder.glob(f"tracks/{person.role}-*.opus"):
            # A decoder that begins in the middle needs some packets.
            settled = decode(file, RATE)[RATE // 2 :]
            if len(settled) >= RATE and heard(settled, RATE).level > QUIET:
                alike[file.name] = correlation(settled, voice)
    assert alike
    assert min(alike.values()) >= 0.99, alike
    assert sidecar(folder)["attendances"][kills]["ended"]
    assert sidecar(folder)["invariant"]["violations"] == []
    verifying = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voki_bots", "recordings", "verify", folder
    )
    assert await verifying.wait() == 0


async def _heard(call: SimCall, folder: Path, seconds: float) -> dict[str, float]:
    """Let time pass; give the seconds of everybody that reached the bot once it was connected, by role."""
    before: dict[str, int] | None = None
    moment = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < moment:
        if before is None and any(line["type"] == "media_connected" for line in _life(folder)):
            before = await _forwarded(call)
        await asyncio.sleep(0.02)
    after = await _forwarded(call)
    return {role: (after[role] - (before or after)[role]) * 0.02 for role in after}


async def _forwarded(call: SimCall) -> dict[str, int]:
    """How many packets of everybody were sent to the bot in all its lives."""
    state = await call.state()
    bots, people = state["bots"], state["people"]
    return {p["role"]: sum(bot["forwarded"].get(p["id"], 0) for bot in bots) for p in people}


def _openings(folder: Path) -> list[int]:
    """Where in the journal, whose last line a kill may have torn, the bot came."""
    lines = read_journal(folder / "events.jsonl") if folder.exists() else []
    return [n for n, line in enumerate(lines) if line["type"] == "attendance_opened"]


def _life(folder: Path) -> list[dict[str, Any]]:
    """The journal since the bot came last."""
    return read_journal(folder / "events.jsonl")[_openings(folder)[-1] :]


def _known(folder: Path) -> set[str]:
    """The roles of those who are known by their voices since the bot came last."""
    said = [
        line["attribution"]["participant"] for line in _life(folder) if line["type"] == "track_attributed"
    ]
    return {participant["role"] for participant in said if participant}


def _recorded(folder: Path) -> list[float]:
    """Seconds in the files of both voices since the bot came last, the shorter first."""
    files = {line["path"] for line in _life(folder) if line["type"] == "track_file"}
    return sorted([0.0, 0.0, *(len(decode(folder / path, RATE)) / RATE for path in files)])[-2:]
