"""`Watch`: a condition on what happens or is said in a call, and what follows, in TOML."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from voki_bots.bots.phrases import TooSlowError, Wanted, wanted
from voki_bots.bots.plugin import Attendance, Plugin, PluginSettings
from voki_bots.calls import (
    CallEvent,
    DigitPressed,
    PluginEvent,
    RecordingPaused,
    RecordingResumed,
    Role,
    UtteranceHeard,
)

_OWN_DOING = (RecordingPaused, RecordingResumed)
"""What follows from a watch is no condition of one: it would feed on itself."""


@dataclass(frozen=True, slots=True)
class WatchFired(PluginEvent):
    """What a watch waits for has happened, or has not in time.

    Attributes:
        watch: Its name.
        at: Seconds of call time.
        utterance: The id of the utterance that it was, or empty.
        role: Who said it; `Role.UNKNOWN` if nobody did.
        participant_id: None while unknown, or if nobody did.
        absent: Whether it is that nothing of the kind happened in time.
    """

    watch: str
    at: float
    utterance: str = ""
    role: Role = Role.UNKNOWN
    participant_id: str | None = None
    absent: bool = False


class Watch(BaseModel):
    """A condition on what happens or is said in a call, and what follows: an entry of ``[[bots.watch]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: str = Field(
        default=UtteranceHeard.__name__,
        description="the class of the event, of the core or of a plugin; an utterance by default",
    )
    where: Mapping[str, str | bool | int | float] = Field(
        default={}, description="only if the event's fields equal these; a dot leads into a field"
    )
    contains: str = Field(default="", description="only if the event's text holds this, in any case")
    phrases: tuple[str, ...] = Field(
        default=(), description="only if one of these is said: whole words, whatever their case and accents"
    )
    regex: str = Field(default="", description="only if this is found in what is said, without accents")
    role: Role | None = Field(default=None, description="only if somebody of this role says it")
    partials: bool = Field(
        default=False, description="whether phrases and regex are looked for before an utterance is over"
    )
    within: float | None = Field(default=None, gt=0, description="only in the first seconds of the call")
    absent_until: float | None = Field(
        default=None, gt=0, description="fires at this second of the call if it has not happened by then"
    )
    cooldown: float = Field(default=0.0, ge=0, description="seconds in which it does not fire again")
    hint: str = Field(default="", max_length=500, description="the text of a hint that follows")
    to: Role = Field(default=Role.ATTENDANT, description="who gets the hint")
    until: str | None = Field(default=None, description="the class of the event that ends the pause")
    seconds: float | None = Field(default=None, gt=0, description="after how many the pause ends by itself")
    reason: str = Field(default="", description="why, for the journal")
    name: str = Field(default="", description="what it is called, and whose pause it is: watch:<name>")

    @field_validator("seconds", "within", "absent_until", "cooldown")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a number of seconds")
        return value

    @model_validator(mode="after")
    def _useful(self) -> Self:
        wanted(self.phrases, self.regex)
        if not (self.pauses or self.listens or self.hint or self.absent_until):
            raise ValueError(
                "must say when its pause ends (seconds, or until which event), or give a hint, or say which "
                "words it waits for (phrases, regex)"
            )
        if self.within is not None and self.absent_until is not None:
            raise ValueError("absent_until says already in which seconds it is looked for; leave out within")
        return self

    @property
    def pauses(self) -> bool:
        """Whether a pause follows."""
        return self.until is not None or self.seconds is not None

    @property
    def listens(self) -> bool:
        """Whether it waits for words."""
        return bool(self.phrases or self.regex)

    @property
    def called(self) -> str:
        """What it is called."""
        return self.name or (self.phrases[0] if self.phrases else self.on)

    @property
    def actor(self) -> str:
        """Whose pause it is, as the journal says."""
        return f"watch:{self.name or self.on}"

    def fits(self, event: object) -> bool:
        """Whether this is an event of the kind, but for the words that are looked for."""
        return (
            _is(event, self.on)
            and all(_value(event, path) == wanted for path, wanted in self.where.items())
            and self.contains.casefold() in str(getattr(event, "text", "")).casefold()
            and (self.role is None or getattr(event, "role", None) is self.role)
            and (not self.listens or self.partials or bool(getattr(event, "final", True)))
        )

    def ends(self, event: object) -> bool:
        """Whether this event ends the pause."""
        return self.until is not None and _is(event, self.until)

    def problems(self) -> list[str]:
        """Say what can never happen, once all plugins are loaded: such a watch would protect nobody."""
        known = {each.__name__: each for each in known_events()}
        found = [
            f"there is no event {name!r}; there are {', '.join(sorted(known))}"
            for name in (self.on, self.until)
            if name is not None and name not in known
        ]
        if self.until == DigitPressed.__name__:
            found.append(f"{self.until} ends no pause, for keys are not told during one")
        if self.on in known:
            has = [each.name for each in fields(known[self.on])]
            text = bool(self.contains) or self.listens
            used = [path.partition(".")[0] for path in self.where] + ["text"] * text
            used += ["role"] * (self.role is not None)
            found += [f"{self.on} has no field {name!r}; it has {has}" for name in used if name not in has]
        return found


class Watching(Plugin[PluginSettings]):
    """Looks at calls as the watches of a bot say."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        super().__init__(PluginSettings(), name="watch")
        self._watches = watches

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Look at everything that happens until the call ends."""
        looking = [_Looking(watch, call) for watch in self._watches]
        call.start_soon(self._watch(call, looking, call.events()))
        for each in looking:
            if each.watch.absent_until is not None:
                call.start_soon(each.miss(each.watch.absent_until))
        yield

    async def _watch(
        self, call: Attendance, looking: Sequence[_Looking], events: AsyncIterator[object]
    ) -> None:
        async for event in events:
            if isinstance(event, WatchFired):
                continue  # it would feed on itself
            for each in looking:
                # The same event may end one pause and begin it anew.
                if each.watch.ends(event):
                    call.resume(actor=each.watch.actor)
                await each.take(event)


class _Looking:
    """One watch in one call."""

    def __init__(self, watch: Watch, call: Attendance) -> None:
        self.watch = watch
        self._call = call
        self._wanted: Wanted | None = wanted(watch.phrases, watch.regex) if watch.listens else None
        self._useless = False
        self._fired_at = -math.inf
        self._heard: str | None = None
        self._happened = False

    async def take(self, event: object) -> None:
        """Look at an event."""
        watch, now = self.watch, self._call.now
        if self._useless or not watch.fits(event) or (watch.within is not None and now > watch.within):
            return
        said = event if isinstance(event, UtteranceHeard) else None
        if said is not None and said.id == self._heard:
            return  # an utterance fires once, however often it is revised
        if not self._found(str(getattr(event, "text", ""))):
            return
        self._happened = True
        self._heard = said.id if said is not None and self._wanted is not None else None
        if watch.absent_until is None:
            await self._fire(said)

    async def miss(self, until: float) -> None:
        """Fire at a second of the call if nothing has happened by then."""
        while (left := until - self._call.now) > 0:  # noqa: ASYNC110 - call time, not the loop's
            await asyncio.sleep(left)
        if not self._happened:
            await self._fire(None, absent=True)

    def _found(self, text: str) -> bool:
        if self._wanted is None:
            return True
        try:
            return self._wanted.found(text)
        except TooSlowError:
            self._useless = True
            self._call.log.error("watch_too_slow", watch=self.watch.called, regex=self.watch.regex)
            self._call.metrics.count("too_slow")
            return False

    async def _fire(self, said: UtteranceHeard | None, *, absent: bool = False) -> None:
        watch, now = self.watch, self._call.now
        if now - self._fired_at < watch.cooldown:
            return
        self._fired_at = now
        if watch.pauses:
            self._call.pause(actor=watch.actor, reason=watch.reason, seconds=watch.seconds)
        who = (
            {}
            if said is None
            else {"utterance": said.id, "role": said.role, "participant_id": said.participant_id}
        )
        self._call.publish(WatchFired(watch.called, round(now, 3), absent=absent, **who))  # type: ignore[arg-type]
        self._call.metrics.count("fired")
        if watch.hint:
            await self._call.hint(watch.hint, to=watch.to)


def _is(event: object, name: str) -> bool:
    return any(each.__name__ == name for each in type(event).__mro__)


def _value(event: object, path: str) -> object:
    found: Any = event
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def known_events() -> Iterable[type[Any]]:
    """Every class of event that can happen in a call, as far as modules are loaded."""
    found = [each for each in get_args(CallEvent) if each not in _OWN_DOING]
    waiting: list[type[PluginEvent]] = [PluginEvent]
    while waiting:
        found += (more := waiting.pop().__subclasses__())
        waiting += more
    return found
