"""``examples/hint_on_join.py`` tells the attendant who came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from voki_bots.bots.registry import Registry
from voki_bots.testing import FakeAttendance

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.mark.journey
async def test_the_hint_names_the_customer(sim: Sim, example: Any) -> None:
    """In a whole call the hint is journalled, for the attendant, with the customer's name."""
    call = await sim.call("attendant", {"role": "customer", "name": "Carlos"})
    async with sim.attend(call, example.bot("hint_on_join.py")) as session:
        await call.heard_by_bots(packets=50)
    (hint,) = example.journal(session.directory, "hint_given")
    assert hint["text"].startswith("Carlos is here")


async def test_an_attendant_gets_no_hint_about_themselves(example: Any) -> None:
    """The function hears of customers alone."""
    (plugin,) = example.bot("hint_on_join.py").plugins(Registry())
    async with FakeAttendance() as call, plugin.attend(call):
        call.join("Ana", role="attendant")
        call.join("Carlos", role="customer")
        await call.until(lambda: call.hints)
    assert [hint.text for hint in call.hints] == ["Carlos is here, 0 s into the call."]
