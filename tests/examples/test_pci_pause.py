"""``examples/pci_pause.py`` records nothing while a card is being entered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from voki_bots.testing import assert_tone, decode

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_nothing_is_recorded_while_a_card_is_entered(sim: Sim, example: Any) -> None:
    """In a whole call the finished track is silent for as long, and sounds before and after it."""
    call = await sim.call({"role": "customer", "tone": 500}, switches={"msid_user_ids": True})
    async with sim.attend(call, example.bot("pci_pause.py")) as session:
        await call.until(lambda _: example.journal(session.directory, "card_entry_ended"), "the card")
        await call.heard_by_bots(packets=(await heard(call)) + 75)
    sidecar = json.loads((session.directory / "call.json").read_text())
    (mask,), (track,) = sidecar["masks"], [track for track in sidecar["tracks"] if track["file"]]
    assert (mask["actor"], mask["reason"]) == ("watch:CardEntryStarted", "card")
    samples = decode(session.directory / track["file"])
    begin, end = (round((mask[side] - track["file_start"]) * 48_000) for side in ("start", "end"))
    assert end - begin > 1.9 * 48_000
    assert np.abs(samples[begin + 4_800 : end - 4_800]).max() == 0
    assert_tone(500, samples[begin - 24_000 : begin - 4_800])
    assert_tone(500, samples[end + 4_800 : end + 24_000])


async def heard(call: Any) -> int:
    """How many packets of the first person reached the bot."""
    state = await call.state()
    return int(state["bots"][0]["forwarded"][state["people"][0]["id"]])
