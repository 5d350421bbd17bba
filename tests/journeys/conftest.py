"""What the journeys share: every test here plays a whole call, in real time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voki_bots.testing.signals import correlation, decode
from voki_bots.testing.sim import SimCall

RATE = 16_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.journey)


def sidecar(directory: Path) -> dict[str, Any]:
    """Read what a bot wrote about a call."""
    found: dict[str, Any] = json.loads((directory / "call.json").read_text())
    return found


def journal(directory: Path) -> list[dict[str, Any]]:
    """Read a call's journal."""
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]


async def likeness(call: SimCall, directory: Path) -> dict[tuple[str, str], float]:
    """Correlate every file with what everybody sent, by (role of the track, role of the person)."""
    found: dict[tuple[str, str], float] = {}
    for person in call.people:
        voice = decode(await call.sent(person, directory.parent / f"{person.role}.sent.opus"), RATE)
        for track in sidecar(directory)["tracks"]:
            if track["file"]:
                heard = decode(directory / track["file"], RATE)
                key = (track["role"], person.role)
                found[key] = max(found.get(key, 0.0), correlation(heard, voice))
    return found
