"""``examples/record_a_call.py`` records what was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voki_bots.testing import correlation

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_each_voice_is_on_a_track_of_its_own(sim: Sim, example: Any, tmp_path: Path) -> None:
    """The customer's file is like what the customer sent."""
    call = await sim.call("attendant", "customer")
    async with sim.attend(call, example.bot("record_a_call.py")) as session:
        await call.heard_by_bots(packets=150)
    tracks = json.loads((session.directory / "call.json").read_text())["tracks"]
    (file,) = [track["file"] for track in tracks if track["role"] == "customer"]
    sent = await call.sent(call.people[1], tmp_path / "sent.opus")
    assert correlation(session.directory / file, sent) >= 0.99


def test_the_file_makes_a_bot_that_records(example: Any) -> None:
    """Without its `run`, the file is one bot with one plugin."""
    assert repr(example.bot("record_a_call.py")) == "Bot('minutes', plugins=['recorder'], handlers=0)"
