"""One plugin's place in one call: the `Attendance` that it is given, and the walls around it.

Whatever a plugin does wrong (raise, stall, fall behind) ends its own seat: its subscriptions are closed, it
is told by leaving its ``async with``, the failure is counted and published; the call and the other plugins
go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from voki_bots.bots.bus import Bus
from voki_bots.bots.gate import Closing, Gate, Refusal
from voki_bots.bots.login import Login
from voki_bots.bots.plugin import FrameSink, Listening, Log, Metrics, Of, PacketSink, Plugin, Supervising
from voki_bots.bots.privacy import Privacy
from voki_bots.bots.roster import Roster
from voki_bots.bots.speakers import spoken
from voki_bots.bots.stall import running
from voki_bots.calls import (
    Attribution,
    Call,
    CallEvent,
    HintGiven,
    Participant,
    PluginDetached,
    PluginEvent,
    Role,
    Track,
)
from voki_bots.errors import ConfigurationError, MediaError, SupervisionError
from voki_bots.media.frames import Filter
from voki_bots.media.live import Live
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Prompt
from voki_bots.media.tap import Tap

ENTER = 10.0
"""Seconds a plugin may take to get ready in a call."""

CONCLUDE = 25.0
"""Seconds a plugin may take for the last of a call, while the others still hear it."""

AUDIO = frozenset({".wav", ".opus", ".ogg", ".oga", ".flac", ".mp3", ".m4a", ".aac", ".webm", ".mka"})
"""What a text ends in that is the path of a file."""

EXIT = 30.0
"""Seconds a plugin may take to finish after a call."""


class Room(Protocol):
    """What a seat needs of its session."""

    call: Call
    bot: str
    bus: Bus
    gate: Gate
    roster: Roster

    @property
    def pipeline(self) -> Pipeline:
        """Where media of this call go."""

    @property
    def user_id(self) -> str:
        """The user as whom the bot attends."""

    @property
    def now(self) -> float:
        """Seconds of call time."""

    @property
    def directory(self) -> Path:
        """The call's folder."""

    def record(self, event: object, /, **facts: Any) -> None:
        """Append to the journal."""

    def publish(self, event: Any) -> None:
        """Record an event and tell everybody."""

    privacy: Privacy
    speaks: bool
    voice: str

    async def say(self, prompt: Prompt | Live) -> float:
        """Speak to everybody through the gate."""

    def supervise(
        self, login: Login, strategy: Any, *, proof: tuple[Path, str] | None, name: str
    ) -> AbstractAsyncContextManager[Supervising]:
        """Supervise this call from a session of its own."""


class Seat:
    """One plugin in one call. It implements `voki_bots.bots.plugin.Attendance`."""

    def __init__(self, room: Room, plugin: Plugin[Any], *, log: Log, metrics: Metrics) -> None:
        self.plugin = plugin
        self._room = room
        self._log = log
        self._metrics = metrics
        self._open: list[Listening] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._ready = asyncio.Event()
        self._why: str | None = None

    # ------------------------------------------------------------ life

    async def serve(self) -> None:
        """Let the plugin take part until `finish`, or until it fails."""
        loop = asyncio.get_running_loop()
        running.set(self.plugin.name)
        try:
            async with asyncio.timeout(ENTER) as limit, self.plugin.attend(self):
                limit.reschedule(None)
                self._ready.set()
                await self._over.wait()
                limit.reschedule(loop.time() + EXIT)
        except TimeoutError:
            self._fail("did not get ready in time" if not self._ready.is_set() else "did not finish in time")
        except Exception as error:  # noqa: BLE001 - around a plugin anything may be raised (design 14)
            self._fail(_told(error))
        finally:
            self._ready.set()
            await self._clear()

    async def ready(self, timeout: float) -> bool:
        """Wait until the plugin is set up, or has failed; False if it takes longer than `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def conclude(self) -> None:
        """Media are over; let the plugin say the last of the call."""
        if not self._ready.is_set() or self._why is not None:
            return
        running.set(self.plugin.name)
        try:
            async with asyncio.timeout(CONCLUDE):
                await self.plugin.conclude(self)
        except TimeoutError:
            self._fail("did not conclude in time")
        except Exception as error:  # noqa: BLE001 - around a plugin anything may be raised (design 14)
            self._fail(_told(error))

    def finish(self) -> None:
        """The call is over; the plugin leaves its ``async with``."""
        self._over.set()

    @property
    def detached(self) -> str | None:
        """Why the plugin takes no further part, or None."""
        return self._why

    def _fail(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._log.error("plugin_detached", why=why)
            self._metrics.count("detached")
            self._room.publish(PluginDetached(self.plugin.name, why))
        self._over.set()
        for listening in self._open:
            listening.close()

    async def _clear(self) -> None:
        for listening in self._open:
            listening.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------ what a plugin sees

    @property
    def call(self) -> Call:
        """See `Attendance.call`."""
        return self._room.call

    @property
    def bot(self) -> str:
        """See `Attendance.bot`."""
        return self._room.bot

    @property
    def user_id(self) -> str:
        """See `Attendance.user_id`."""
        return self._room.user_id

    @property
    def now(self) -> float:
        """See `Attendance.now`."""
        return self._room.now

    @property
    def participants(self) -> Sequence[Participant]:
        """See `Attendance.participants`."""
        return self._room.roster.participants

    def who(self, track: Track) -> Attribution:
        """See `Attendance.who`."""
        return self._room.roster.who(track)

    def events(self) -> AsyncIterator[CallEvent | PluginEvent]:
        """See `Attendance.events`."""
        return self._room.bus.events(self.plugin.name)

    @property
    def directory(self) -> Path:
        """See `Attendance.directory`."""
        return self._room.directory

    @property
    def log(self) -> Log:
        """See `Attendance.log`."""
        return self._log

    @property
    def metrics(self) -> Metrics:
        """See `Attendance.metrics`."""
        return self._metrics

    # ------------------------------------------------------------ media

    def packets(self, sink: PacketSink, *, of: Of = "all", kind: str = "audio") -> Listening:
        """See `Attendance.packets`."""
        return self._listening(self._room.pipeline.packets(self._tap(sink), self._selects(of), kind))

    def listen(
        self,
        sink: FrameSink,
        *,
        of: Of = "all",
        rate: int = 16_000,
        filters: Callable[[], Sequence[Filter]] | None = None,
    ) -> Listening:
        """See `Attendance.listen`."""
        return self._listening(self._room.pipeline.listen(self._tap(sink), self._selects(of), rate, filters))

    def _tap(self, sink: Any) -> Tap:
        return Tap(self.plugin.name, sink, on_failure=self._sink_failed)

    def _sink_failed(self, error: BaseException) -> None:
        self._fail(_told(error))

    def _listening(self, listening: Listening) -> Listening:
        self._open.append(listening)
        if self._why is not None:
            listening.close()
        return listening

    def _selects(self, of: Of) -> Callable[[Track], bool]:
        wanted = {str(of)} if isinstance(of, str) else {str(one) for one in of}
        if not wanted:
            raise ConfigurationError("of: names nobody; use 'all', 'bot', a role or a participant's id")
        roster = self._room.roster

        def selects(track: Track) -> bool:
            if "all" in wanted and not track.local:
                return True
            attribution = roster.who(track)
            who = attribution.participant
            return str(attribution.role) in wanted or (who is not None and who.id in wanted)

        return selects

    # ------------------------------------------------------------ what a plugin does

    async def say(self, text_or_prompt: object, *, to: str = "all") -> float:
        """See `Attendance.say`."""
        if to != "all":
            raise SupervisionError(
                f"cannot speak (say to {to}): this session speaks to all or not at all",
                mode="say",
                why=str(Closing.NOT_CONFIGURED),
            )
        if not self._room.speaks:
            raise Refusal(Closing.NOT_CONFIGURED).error(f"say to {to}")
        prompt = await _prompt(text_or_prompt, self._room.voice)
        self._room.record("speaking", plugin=self.plugin.name, prompt=prompt.name, seconds=prompt.seconds)
        played = await self._room.say(prompt)
        self._room.record("spoken", plugin=self.plugin.name, prompt=prompt.name, seconds=round(played, 3))
        return played

    def supervise(
        self,
        login: Login,
        strategy: object,
        *,
        proof: tuple[Path, str] | None = None,
        name: str = "supervisor",
    ) -> AbstractAsyncContextManager[Supervising]:
        """See `Attendance.supervise`."""
        return self._room.supervise(login, strategy, proof=proof, name=name)

    async def hint(self, text: str, *, to: Role | str = Role.ATTENDANT) -> None:
        """See `Attendance.hint`."""
        self._room.publish(HintGiven(text, Role(to), self.plugin.name))

    def publish(self, event: PluginEvent) -> None:
        """See `Attendance.publish`."""
        if not isinstance(event, PluginEvent):
            raise TypeError(f"expected a PluginEvent, got {type(event).__name__}")
        self._room.publish(event)

    def pause(
        self, *, actor: str | None = None, reason: str = "", seconds: float | None = None
    ) -> float | None:
        """See `Attendance.pause`."""
        made = self._room.privacy.pause(actor or self.plugin.name, reason=reason, seconds=seconds)
        return made.until

    def consent(self, *, by: str, how: str, given: bool = True) -> None:
        """See `Attendance.consent`."""
        self._room.privacy.agree(by, how=how, given=given)

    def resume(self, *, actor: str | None = None, everyone: bool = False) -> None:
        """See `Attendance.resume`."""
        self._room.privacy.resume(actor or self.plugin.name, everyone=everyone)

    def journal(self, event: str, **facts: Any) -> None:
        """See `Attendance.journal`."""
        self._room.record(event, plugin=self.plugin.name, **facts)

    def start_soon(self, work: Coroutine[Any, Any, None]) -> None:
        """See `Attendance.start_soon`."""
        task = asyncio.get_running_loop().create_task(
            self._guarded(work), name=f"{self.plugin.name} in a call"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        running.set(self.plugin.name)
        try:
            await work
        except Exception as error:  # noqa: BLE001 - around a plugin anything may be raised (design 14)
            self._fail(_told(error))


async def _prompt(what: object, voice: str) -> Prompt:
    """Make a prompt of whatever a plugin wants to say; MediaError if it cannot be spoken."""
    if isinstance(what, Prompt):
        return what
    if isinstance(what, np.ndarray):
        return Prompt.from_pcm(what)
    if isinstance(what, Path) or (isinstance(what, str) and Path(what[:4096]).suffix.lower() in AUDIO):
        return await asyncio.to_thread(Prompt.from_file, what)
    if isinstance(what, str) and voice:
        return await asyncio.to_thread(spoken, what, voice)
    raise MediaError(
        "only a Prompt, samples or an audio file can be spoken: this bot has no voice for text; give it one, "
        'such as voice = "espeak-ng:pt-br"'
    )


def _told(error: BaseException) -> str:
    """One line about somebody else's exception."""
    if isinstance(error, BaseExceptionGroup):
        return _told(error.exceptions[0])
    return f"{type(error).__name__}: {error}".split("\n")[0][:500]
