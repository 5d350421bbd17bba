"""One person's place in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from voki_bots import (
    Attendance,
    Closing,
    Listening,
    Live,
    Login,
    MediaError,
    Packet,
    PacketSink,
    Prompt,
    Refusal,
    Supervised,
    Supervising,
    Supervision,
    SupervisionError,
    spoken,
)

if TYPE_CHECKING:
    from voki_bots_supervisor.table import Table

PATIENCE = 8.0
"""Seconds that whoever leaves may take until somebody else has their account."""

_SIDES = {"all": ("all", "bot"), "attendant": ("attendant",), "customer": ("customer",)}


class _Others:
    """A sink of everybody's voice but one's own."""

    def __init__(self, call: Attendance, chair: Chair, sink: PacketSink) -> None:
        self._call = call
        self._chair = chair
        self._write = sink if callable(sink) else sink.write

    def write(self, item: Packet) -> None:
        """Pass on what somebody else says."""
        who = self._call.who(item.track).participant
        if who is None or who.id != self._chair.account:
            self._write(item)

    def flush(self) -> None:
        """Nothing of it is kept."""

    def close(self) -> None:
        """No more will come; what it was given to goes on, for the side may change."""


class Chair:
    """One person's place in one call; see `voki_bots.Chair`. It signs in when it is first needed.

    Args:
        table: The call's.
        name: Who sits here.
        login: With which account; None for nobody who can be heard.
    """

    def __init__(self, table: Table, name: str, login: Login | None) -> None:
        self.name = name
        self.login = login
        self.over = table.over
        self.account: str | None = None
        self.leaving = False
        self.gone = asyncio.Event()
        self._table = table
        self._call = table.call
        self._him: Supervising | None = None
        self._listening: Listening | None = None
        self._side = ""
        self._since = 0.0
        self._hinted = False
        self._talking = 0
        self._told: SupervisionError | None = None
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._signing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.leaving = True
        self._hear_no_more()
        try:
            await self._stack.aclose()
        finally:
            self._him = self.account = None
            self.gone.set()

    @property
    def modes(self) -> Sequence[Supervision]:
        """See `voki_bots.Chair.modes`."""
        settings = self._table.settings
        return settings.modes if settings.strategy is not None and self.login is not None else ()

    @property
    def voice(self) -> bool:
        """See `voki_bots.Chair.voice`."""
        return bool(self._table.settings.voice and self.modes)

    def seen(self) -> Supervised:
        """See `voki_bots.Chair.seen`."""
        him, told = self._him, self._told
        if him is None or him.mode is None:
            heard = self._listening is not None
            mode = Supervision.MONITOR if heard else None
            state = "closed" if told is not None else ("listening" if heard else "idle")
            why, sentence = (told.why, str(told)) if told is not None else ("", "")
            return Supervised(self.name, mode, state, self._talking > 0, why, sentence)
        refusal = him.refusal if him.mode is not Supervision.MONITOR else None
        why, sentence = (str(refusal.why), str(refusal)) if refusal is not None else ("", "")
        return Supervised(self.name, him.mode, str(him.state), self._talking > 0, why, sentence)

    # ------------------------------------------------------------ listening

    async def listen(self, side: str, sink: PacketSink | None) -> None:
        """See `voki_bots.Chair.listen`."""
        if side not in _SIDES:
            raise SupervisionError(
                f"cannot listen to {side[:20]!r}: expected one of {', '.join(_SIDES)}",
                mode="monitor",
                why="side",
            )
        self._hear_no_more()
        if sink is None:
            return
        try:
            await self._announced()
        except SupervisionError as error:
            self._told = error
            raise
        self._told = None
        self._listening = self._call.packets(_Others(self._call, self, sink), of=_SIDES[side])
        self._side, self._since = side, self._call.now
        self._call.journal("listening", by=self.name, side=side)

    async def _announced(self) -> None:
        """See to it that the attendant hears of it: there is no way to listen in secret."""
        if self._table.settings.told_by == "hint":
            if not self._hinted:
                self._hinted = True
                await self._call.hint(f"{self.name} listens to this call.")
            return
        async with self._lock:
            him = await self._signed_in("monitor")
            if him.mode is None:
                await him.monitor()

    def _hear_no_more(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            seconds = round(self._call.now - self._since, 2)
            self._call.journal("listened", by=self.name, side=self._side, seconds=seconds)

    # ------------------------------------------------------------ speaking

    async def speak(self, mode: Supervision, prompt: Prompt | Live) -> float:
        """See `voki_bots.Chair.speak`."""
        self._talking += 1
        try:
            if mode not in self.modes:
                configured = self._table.settings.strategy is not None and self.login is not None
                raise Refusal(Closing.NOT_PERMITTED if configured else Closing.NOT_CONFIGURED).error(
                    str(mode)
                )
            him = await self._signed_in(str(mode))
            self._told = None
            self._call.journal("speaks", by=self.name, mode=str(mode), prompt=prompt.name)
            seconds = await him.speak(mode, prompt)
        except SupervisionError as error:
            self._told = error
            self._call.journal("not_spoken", by=self.name, mode=str(mode), why=error.why)
            raise
        finally:
            self._talking -= 1
        self._call.journal(
            "spoke", by=self.name, mode=str(mode), prompt=prompt.name, seconds=round(seconds, 3)
        )
        return seconds

    async def say(self, mode: Supervision, text: str) -> float:
        """See `voki_bots.Chair.say`."""
        if not self._table.settings.voice:
            raise MediaError(
                'no text can be said: give the plugin a voice, such as voice = "espeak-ng:pt-br"'
            )
        return await self.speak(mode, await asyncio.to_thread(spoken, text, self._table.settings.voice))

    async def _signed_in(self, mode: str) -> Supervising:
        """Sign in, once, with an account that nobody else in this call uses."""
        settings, login = self._table.settings, self.login
        proof = (settings.profile, settings.operator) if settings.profile is not None else None
        if login is None or settings.strategy is None:
            raise Refusal(Closing.NOT_CONFIGURED).error(mode)
        async with self._signing:
            if self._him is None:
                other = self._table.uses(login.email, self)
                if other is not None and other.leaving:  # as when somebody opens the page anew
                    with suppress(TimeoutError):
                        async with asyncio.timeout(PATIENCE):
                            await other.gone.wait()
                if self._table.uses(login.email, self) is not None:
                    raise Refusal(Closing.BUSY).error(mode)
                self.account = ""  # it is taken from now on
                try:
                    self._him = await self._stack.enter_async_context(
                        self._call.supervise(login, settings.strategy, proof=proof, name=self.name)
                    )
                except BaseException:
                    self.account = None
                    raise
                self.account = self._him.user_id
            return self._him
