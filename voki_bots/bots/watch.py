"""`Watch`: a condition on what happens in a call, and the pause that follows, in TOML instead of a plugin."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from voki_bots.bots.plugin import Attendance, Plugin, PluginSettings
from voki_bots.calls import CallEvent, DigitPressed, PluginEvent, RecordingPaused, RecordingResumed

_OWN_DOING = (RecordingPaused, RecordingResumed)
"""What follows from a watch is no condition of one: it would feed on itself."""


class Watch(BaseModel):
    """Pause a call when something happens in it: an entry of ``[[bots.watch]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: str = Field(description="the class of the event, of the core or of a plugin, that pauses")
    where: Mapping[str, str | bool | int | float] = Field(
        default={}, description="only if the event's fields equal these; a dot leads into a field"
    )
    contains: str = Field(default="", description="only if the event's text holds this, in any case")
    until: str | None = Field(default=None, description="the class of the event that ends the pause")
    seconds: float | None = Field(default=None, gt=0, description="after how many it ends by itself")
    reason: str = Field(default="", description="why, for the journal")
    name: str = Field(default="", description="whose pause it is: watch:<name>; by default as `on`")

    @field_validator("seconds")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a number of seconds")
        return value

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.until is None and self.seconds is None:
            raise ValueError("must say when its pause ends: seconds, or until which event")
        return self

    @property
    def actor(self) -> str:
        """Whose pause it is, as the journal says."""
        return f"watch:{self.name or self.on}"

    def begins(self, event: object) -> bool:
        """Whether this event pauses the call."""
        return (
            _is(event, self.on)
            and all(_value(event, path) == wanted for path, wanted in self.where.items())
            and self.contains.casefold() in str(getattr(event, "text", "")).casefold()
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
            used = [path.partition(".")[0] for path in self.where] + ["text"] * bool(self.contains)
            found += [f"{self.on} has no field {name!r}; it has {has}" for name in used if name not in has]
        return found


class Watching(Plugin[PluginSettings]):
    """Pauses calls as the watches of a bot say."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        super().__init__(PluginSettings(), name="watch")
        self._watches = watches

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Look at everything that happens until the call ends."""
        call.start_soon(self._watch(call, call.events()))
        yield

    async def _watch(self, call: Attendance, events: AsyncIterator[object]) -> None:
        async for event in events:
            for watch in self._watches:
                # The same event may end one pause and begin it anew.
                if watch.ends(event):
                    call.resume(actor=watch.actor)
                if watch.begins(event):
                    call.pause(actor=watch.actor, reason=watch.reason, seconds=watch.seconds)


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
