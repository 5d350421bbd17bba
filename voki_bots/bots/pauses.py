"""Who has paused a call, since when, why, and until when. Pure.

The rule for pauses that overlap: each actor has one pause of their own, and media flow again only when nobody
has any. Pausing again renews one's own pause; resuming ends one's own, and those of the others only where
that is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from voki_bots.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Pause:
    """One actor's pause.

    Attributes:
        actor: Whose it is.
        since: Seconds of call time.
        reason: Why, in their own words; may be empty.
        until: Seconds of call time at which it ends by itself, or None.
    """

    actor: str
    since: float
    reason: str = ""
    until: float | None = None


class Pauses:
    """The pauses of one call.

    Args:
        longest: Seconds after which any pause ends by itself; None lets one last until it is ended.
    """

    def __init__(self, longest: float | None = None) -> None:
        self._longest = longest
        self._standing: dict[str, Pause] = {}

    @property
    def standing(self) -> tuple[Pause, ...]:
        """Those that have not ended, the oldest first."""
        return tuple(self._standing.values())

    @property
    def actors(self) -> tuple[str, ...]:
        """Whose pauses have not ended."""
        return tuple(self._standing)

    def pause(self, actor: str, now: float, *, reason: str = "", seconds: float | None = None) -> Pause:
        """Begin, or renew, an actor's pause.

        Args:
            actor: Who pauses.
            now: Seconds of call time.
            reason: Why.
            seconds: After how many it ends by itself; the longest allowed goes before it.

        Raises:
            ConfigurationError: If `seconds` is no positive number.
        """
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise ConfigurationError(f"a pause lasts more than 0 seconds, got {seconds!r}", path="seconds")
        bounds = [bound for bound in (seconds, self._longest) if bound is not None]
        return self.take_up(Pause(actor, now, reason, now + min(bounds) if bounds else None))

    def take_up(self, pause: Pause) -> Pause:
        """Go on with a pause that was begun earlier."""
        before = self._standing.get(pause.actor)
        since = pause.since if before is None else before.since
        made = self._standing[pause.actor] = Pause(pause.actor, since, pause.reason, pause.until)
        return made

    def resume(self, actor: str, *, everyone: bool = False) -> list[Pause]:
        """End this actor's pause, or everybody's; give those that ended."""
        ended = [pause for pause in self.standing if everyone or pause.actor == actor]
        for pause in ended:
            del self._standing[pause.actor]
        return ended

    def expired(self, now: float) -> list[Pause]:
        """End the pauses whose time is over; give them."""
        over = [pause for pause in self.standing if pause.until is not None and pause.until <= now]
        for pause in over:
            del self._standing[pause.actor]
        return over
