"""``examples/whisper_on_keyword.py`` tells the attendant what to offer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from voki_bots import Role, UtteranceHeard
from voki_bots.bots.registry import Registry
from voki_bots.testing import FakeAttendance

SAID = UtteranceHeard("u1", 2, True, "인터넷이 연결되지 않아요", Role.CUSTOMER, "c", 3.0, 4.0, name="Carlos")


async def test_the_attendant_is_told_when_the_customer_says_it(example: Any) -> None:
    """Once for each time, and not when the attendant says it."""
    bot = example.bot("whisper_on_keyword.py")
    plugins = [each for each in bot.plugins(Registry()) if each.name != "transcriber"]
    async with FakeAttendance() as call, AsyncExitStack() as stack:
        for plugin in plugins:
            await stack.enter_async_context(plugin.attend(call))
        await asyncio.sleep(0)  # the decorated function begins to listen
        call.emit(UtteranceHeard("u0", 2, True, SAID.text, Role.ATTENDANT, "a", 1.0, 2.0))
        call.emit(SAID)
        await call.until(lambda: call.hints)
    assert [hint.text for hint in call.hints] == [
        "Carlos has trouble with the internet: offer the line test."
    ]
