"""Keys pressed in a call reach the functions that wait for them."""

from __future__ import annotations

import asyncio

import pytest

from tests.journeys.conftest import journal
from voki_bots import Attendance, Bot, DigitPressed
from voki_bots.testing.sim import Sim


@pytest.mark.parametrize("offers", [False, True], ids=["we_offer", "server_offers"])
async def test_a_bot_knows_who_pressed_what(sim: Sim, offers: bool) -> None:
    """Each key comes once, with its length and who pressed it; the journal does not say which it was."""
    bot, keys = Bot("menu"), asyncio.Queue[DigitPressed]()

    @bot.on_digit("12#", role="customer")
    async def pressed(call: Attendance, key: DigitPressed) -> None:
        keys.put_nowait(key)

    call = await sim.call("customer", "attendant", switches={"server_offers": offers})
    async with sim.attend(call, bot) as session:
        await call.heard_by_bots(50)
        await call.press(call.people[1], "1")
        await call.press(call.people[0], "19#", seconds=0.12)
        async with asyncio.timeout(5):
            got = [await keys.get(), await keys.get()]
        first = session.now
    assert [(k.digit, round(k.duration, 2), k.by.role) for k in got] == [
        ("1", 0.12, "customer"),
        ("#", 0.12, "customer"),
    ]
    assert first - 1.5 < got[0].at < got[1].at < first
    lines = [line for line in journal(session.directory) if line["type"] == "digit_pressed"]
    assert (len(lines), any("digit" in line for line in lines)) == (4, False)
