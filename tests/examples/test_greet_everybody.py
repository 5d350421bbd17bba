"""``examples/greet_everybody.py`` is heard by those in the call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voki_bots.testing.signals import assert_tone

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_the_chime_is_heard_and_recorded(sim: Sim, example: Any, tmp_path: Path) -> None:
    """The attendant hears the chime, and the recording has it on the bot's own track."""
    listener = {"role": "attendant", "tone": 300, "listens": True}
    call = await sim.call(listener, {"role": "customer", "name": "Carlos", "tone": 500})
    async with sim.attend(call, example.bot("greet_everybody.py")) as session:
        await call.heard_by_bots(packets=100)
        heard = f"/calls/{call.id}/people/{call.people[0].id}/heard"
        people = {person.id for person in call.people}
        lines = (await sim.control("GET", heard))["tracks"]
        (mid,) = [line["mid"] for line in lines if line["from"] not in people and line["packets"] > 40]
        (tmp_path / "heard.opus").write_bytes(await sim.raw(f"{heard}/{mid}"))
    (greeted,) = example.journal(session.directory, "greeted")
    assert (greeted["who"], greeted["seconds"]) == ("Carlos", 1.0)
    assert_tone(880, tmp_path / "heard.opus", at=0.15, seconds=0.3)
    assert_tone(880, session.directory / "tracks/bot-1.0.opus", at=0.15, seconds=0.3)
