"""``examples/record_encrypted.toml``: only the holder of the key hears anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from voki_bots import settings
from voki_bots.archive.finish import finish
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.seal import verify
from voki_bots.media.encrypted import Keys, decrypt_file
from voki_bots.testing import correlation

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim

PUBLISHED = "age1w5lj6zagtupf79ejhluuk43pdpaavy42m0vascpqv09u0sqxycqsmx6cdw"


@pytest.mark.journey
async def test_its_calls_are_read_with_the_key_alone(sim: Sim, example: Any, tmp_path: Path) -> None:
    """Nothing readable is in the folder; with the key the attendant's side is what the attendant sent."""
    key = pyrage.x25519.Identity.generate()
    file = tmp_path / "bots.toml"
    file.write_text(
        (example.path / "record_encrypted.toml").read_text().replace(PUBLISHED, str(key.to_public()))
    )
    ((bot, _),) = settings.load(file).bots
    call = await sim.call("attendant", "customer")
    async with sim.attend(call, bot) as session:
        await call.heard_by_bots(packets=150)
    folder = session.directory
    assert verify(folder) == [] and not [*folder.rglob("*.opus"), *folder.rglob("*.svg")]
    finish(folder, FinishOptions(), keys=Keys([key]))
    decrypt_file(folder / "participants/attendant-1.opus.enc", tmp_path / "attendant.opus", Keys([key]))
    sent = await call.sent(call.people[0], tmp_path / "sent.opus")
    assert correlation(tmp_path / "attendant.opus", sent) >= 0.99
