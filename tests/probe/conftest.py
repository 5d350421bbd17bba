"""What the tests of the probe share: how a sandbox is probed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from voki_bots.bots.profile import CapabilityProfile
from voki_bots.bots.supervision import SupervisionStrategy
from voki_bots.calls import Supervision
from voki_bots.probe.routing import Pace
from voki_bots.probe.run import Plan, Probe
from voki_bots.testing.sim import SandboxProcess, Sim

WAYS = {
    "rest": SupervisionStrategy(by="rest", path="/api/v1/calls/{call}/supervise"),
    "push": SupervisionStrategy(by="push", event="supervise"),
    "join": SupervisionStrategy(by="join"),
}

BRISK = Pace(media=15.0, hear=9.0, confirm=1.0, window=0.4, whole=90.0)
"""How fast it can be on loopback; what should be heard is waited for all the same."""


@dataclass(frozen=True)
class Run:
    """One probe of a platform.

    Attributes:
        switches: How the platform behaves.
        by: How it is asked.
        modes: What is measured.
    """

    switches: Mapping[str, Any]
    by: str = "rest"
    modes: tuple[Supervision, ...] = (Supervision.WHISPER,)


async def plan(sim: Sim, run: Run, **changes: Any) -> Plan:
    """What is to be probed: a new department whose calls have these switches, and two new users."""
    switches = {f"supervise_by_{run.by}": True, **run.switches}
    made = await sim.control("POST", "/departments", {"switches": switches})
    found = Plan(
        made["department_id"],
        (made["department_id"],),
        made["token"],
        await sim.user("Ana", "attendant"),
        await sim.user("Marina", "supervisor"),
        WAYS[run.by],
        modes=run.modes,
    )
    return replace(found, **changes)


async def probed(sim: Sim, run: Run) -> CapabilityProfile:
    """Probe a platform."""
    return await Probe(await plan(sim, run), software="voki-bots 0", pace=BRISK).run()


def probe_all(
    sandbox: SandboxProcess, directory: Path, runs: Mapping[str, Run], at_once: int
) -> dict[str, CapabilityProfile]:
    """Probe several platforms side by side."""

    async def everything() -> dict[str, CapabilityProfile]:
        room = asyncio.Semaphore(at_once)

        async def one(sim: Sim, run: Run) -> CapabilityProfile:
            async with room:
                return await probed(sim, run)

        async with Sim(sandbox, directory) as sim:
            found = await asyncio.gather(*(one(sim, run) for run in runs.values()))
        return dict(zip(runs, found, strict=True))

    return asyncio.run(everything())


@pytest.fixture
async def sim(voki_sandbox: SandboxProcess, tmp_path: Path) -> AsyncIterator[Sim]:
    """Calls in the sandbox."""
    async with Sim(voki_sandbox, tmp_path) as running:
        yield running
