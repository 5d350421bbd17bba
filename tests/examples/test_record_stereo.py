"""``examples/record_stereo.py`` makes a stereo file with one role on each side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voki_bots.archive.seal import verify
from voki_bots.media.audiofile import read_audio
from voki_bots.testing import correlation, decode

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim

RATE = 16_000


@pytest.mark.journey
async def test_each_role_is_on_its_side(sim: Sim, example: Any, tmp_path: Path) -> None:
    """Left is what the attendant sent, right what the customer sent, and neither is on the other side."""
    call = await sim.call("customer", "attendant")
    async with sim.attend(call, example.bot("record_stereo.py")) as session:
        await call.heard_by_bots(packets=150)
    stereo = session.directory / "stereo.flac"
    left, right = (read_audio(stereo, RATE, channel=channel) for channel in (0, 1))
    customer, attendant = [
        decode(await call.sent(person, tmp_path / f"{person.role}.opus"), RATE) for person in call.people
    ]
    assert min(correlation(left, attendant), correlation(right, customer)) >= 0.99
    assert max(correlation(left, customer), correlation(right, attendant)) < 0.3
    assert verify(session.directory) == []
    assert json.loads((session.directory / "call.json").read_text())["retention"]["keep"] == 90 * 86_400


def test_the_folder_is_named_by_day(example: Any) -> None:
    """The place is a template below the directory of the service."""
    from voki_bots.bots.registry import Registry

    (recorder,) = example.bot("record_stereo.py").plugins(Registry())
    assert str(recorder.archive()) == "{tenant}/{date}/{call}"
