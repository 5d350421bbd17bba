"""Where people supervise calls: what the console asks of a plugin, and what it tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from voki_bots.bots.plugin import PacketSink
from voki_bots.calls import Supervision

if TYPE_CHECKING:
    from voki_bots.media.live import Live
    from voki_bots.media.prompts import Prompt

SIDES = ("all", "attendant", "customer")
"""Whom a supervisor may listen to."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """What somebody does in a call as its supervisor.

    Attributes:
        by: Who.
        mode: The mode that is taken, or None.
        state: ``idle``, ``listening``, ``arming``, ``open`` or ``closed``.
        talking: Whether something is being said.
        why: Why nothing can be said, as a value; empty while it can.
        sentence: The same for people, with what to do.
    """

    by: str
    mode: Supervision | None = None
    state: str = "idle"
    talking: bool = False
    why: str = ""
    sentence: str = ""


class Chair(Protocol):
    """One person's place at a desk, in one call.

    Attributes:
        over: Set when the call has ended.
    """

    over: asyncio.Event

    @property
    def modes(self) -> Sequence[Supervision]:
        """In which something can be said here."""

    @property
    def voice(self) -> bool:
        """Whether texts can be said."""

    def seen(self) -> Supervised:
        """What is going on."""

    async def listen(self, side: str, sink: PacketSink | None) -> None:
        """Hear one of `SIDES` from now on, in a sink; None hears no more.

        Raises:
            SupervisionError: If it cannot be, with the reason.
        """

    async def speak(self, mode: Supervision, prompt: Prompt | Live) -> float:
        """Say something; give the seconds that were said.

        Raises:
            SupervisionError: If it cannot be, or not to its end, with the reason.
        """

    async def say(self, mode: Supervision, text: str) -> float:
        """Say a text; give the seconds that were said.

        Raises:
            SupervisionError: If it cannot be, with the reason.
            MediaError: If nothing can be made of the text.
        """


@runtime_checkable
class Desk(Protocol):
    """A plugin at which people supervise the calls of its bot."""

    def attends(self, key: tuple[str, str]) -> bool:
        """Whether the bot attends a call (tenant, id) now."""

    def seated(self, key: tuple[str, str]) -> Sequence[Supervised]:
        """Who supervises a call (tenant, id) now."""

    def sit(self, key: tuple[str, str], name: str) -> AbstractAsyncContextManager[Chair]:
        """Take a place in a call, until the ``async with`` ends.

        Args:
            key: The call's tenant and id.
            name: Who.

        Raises:
            SupervisionError: On entering, if the bot does not attend it.
        """
