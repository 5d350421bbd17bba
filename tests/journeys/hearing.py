"""What people in the sandbox heard of a tone, and which packets reached them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from voki_bots.testing.signals import decode
from voki_bots.testing.sim import Person, Sim, SimCall

RATE = 48_000

QUIET = -60.0
"""dBFS below which nothing of a tone was heard."""

NOTHING = -127.0


async def loudest(sim: Sim, call: SimCall, directory: Path, hertz: float) -> dict[str, float]:
    """How loud a tone is in what each person received, in dBFS, by role; `NOTHING` is nothing at all."""
    found = {}
    for person in call.people:
        base = f"/calls/{call.id}/people/{person.id}/heard"
        found[person.role] = NOTHING
        for line in (await sim.control("GET", base))["tracks"]:
            file = directory / f"{person.role}-{line['mid']}-{line['ssrc']}.opus"
            file.write_bytes(await sim.raw(f"{base}/{line['mid']}?ssrc={line['ssrc']}"))
            level = await asyncio.to_thread(lambda: level_of(decode(file, RATE), hertz))  # noqa: B023 - awaited
            found[person.role] = max(found[person.role], level)
    return found


async def reached(sim: Sim, call: SimCall, person: Person, source: str) -> int:
    """How many packets of somebody reached a person."""
    heard = await sim.control("GET", f"/calls/{call.id}/people/{person.id}/heard")
    others = {each.user_id for each in call.people if each.user_id not in (None, source)}
    return sum(int(line["packets"]) for line in heard["tracks"] if line["from"] not in others)


def level_of(samples: np.ndarray, hertz: float) -> float:
    """The level of a tone in the loudest tenth of a second."""
    size, level = RATE // 10, NOTHING
    probe = np.exp(-2j * np.pi * hertz * np.arange(size) / RATE) * np.hanning(size) * 2 / (size / 2)
    for at in range(0, len(samples) - size, size):
        amplitude = abs(np.dot(samples[at : at + size] / 32_768.0, probe))
        level = max(level, 20 * float(np.log10(max(amplitude, 1e-7))))
    return level
