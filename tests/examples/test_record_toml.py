"""``examples/record.toml`` is the bot of ``record_a_call.py`` without Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voki_bots import settings
from voki_bots.testing import correlation

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


def test_the_file_is_valid(example: Any) -> None:
    """Nothing but the password has to be added."""
    loaded = settings.load(example.path / "record.toml")
    assert [plugin.name for _, plugins in loaded.bots for plugin in plugins] == ["recorder"]


@pytest.mark.journey
async def test_its_bot_records(sim: Sim, example: Any, tmp_path: Path) -> None:
    """In a whole call the attendant's file is like what the attendant sent."""
    ((bot, _),) = settings.load(example.path / "record.toml").bots
    call = await sim.call("attendant", "customer")
    async with sim.attend(call, bot) as session:
        await call.heard_by_bots(packets=150)
    tracks = json.loads((session.directory / "call.json").read_text())["tracks"]
    (file,) = [track["file"] for track in tracks if track["role"] == "attendant"]
    sent = await call.sent(call.people[0], tmp_path / "sent.opus")
    assert correlation(session.directory / file, sent) >= 0.99
