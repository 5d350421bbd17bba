"""Decorated functions: several for an event, each on its own."""

from __future__ import annotations

import asyncio

from voki_bots import Bot, ParticipantJoined, ParticipantLeft
from voki_bots.bots.handlers import Handlers
from voki_bots.bots.registry import Registry
from voki_bots.testing import FakeAttendance


async def served(bot: Bot) -> None:
    """One joins, one leaves, the call ends."""
    (plugin,) = bot.plugins(Registry({}))
    assert isinstance(plugin, Handlers)
    over = asyncio.Event()
    async with FakeAttendance() as call:

        async def attend() -> None:
            async with plugin.attend(call):
                await over.wait()

        call.start_soon(attend())
        for _ in range(3):  # the functions begin to listen in tasks of their own
            await asyncio.sleep(0)
        call.leave(call.join("Ana"))
        over.set()


async def test_35_every_function_for_an_event_is_called() -> None:
    """Two that ask for the same, and one that asks for something else."""
    bot, called = Bot("b"), list[str]()

    @bot.on(ParticipantJoined)
    async def one(call: object, event: ParticipantJoined) -> None:
        called.append("one")

    @bot.on(ParticipantJoined)
    async def two(call: object, event: ParticipantJoined) -> None:
        called.append("two")

    @bot.on(ParticipantLeft)
    async def three(call: object, event: ParticipantLeft) -> None:
        called.append("three")

    await served(bot)
    assert sorted(called) == ["one", "three", "two"]


async def test_35_a_function_that_raises_or_sleeps_takes_nothing_from_the_others() -> None:
    """Each is called on its own."""
    bot, called = Bot("b"), list[str]()

    @bot.on(ParticipantJoined)
    async def bad(call: object, event: ParticipantJoined) -> None:
        raise RuntimeError("no")

    @bot.on(ParticipantJoined)
    async def slow(call: object, event: ParticipantJoined) -> None:
        await asyncio.sleep(0.05)

    @bot.on(ParticipantJoined)
    async def good(call: object, event: ParticipantJoined) -> None:
        called.append("good")

    await served(bot)
    assert called == ["good"]
