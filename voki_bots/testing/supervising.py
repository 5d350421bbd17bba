"""A supervisor without a platform: what `FakeAttendance.supervise` gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voki_bots.bots.gate import Closing, GateState, Refusal
from voki_bots.calls import Supervision

if TYPE_CHECKING:
    from voki_bots.media.live import Live
    from voki_bots.media.prompts import Prompt


@dataclass
class FakeSupervising:
    """Implements `voki_bots.Supervising`; whatever is asked for is granted, unless `refuse` is set.

    Attributes:
        user_id: Made from the account's e-mail.
        name: As the plugin gave it.
        spoken: What was said, with its mode.
        refuse: Why nothing is granted; None grants everything.
        left: Whether he has left.
    """

    user_id: str
    name: str
    mode: Supervision | None = None
    state: GateState = GateState.LISTENING
    spoken: list[tuple[Supervision, Prompt | Live]] = field(default_factory=list)
    refuse: Closing | None = None
    left: bool = False

    @property
    def refusal(self) -> Refusal | None:
        """See `Supervising.refusal`."""
        if self.refuse is not None:
            return Refusal(self.refuse)
        return None if self.state is GateState.OPEN else Refusal(Closing.NOT_ARMED)

    async def monitor(self) -> None:
        """See `Supervising.monitor`."""
        self._granted(Supervision.MONITOR)

    async def speak(self, mode: Supervision, prompt: Prompt | Live) -> float:
        """See `Supervising.speak`; somebody who speaks live speaks until he is released."""
        self._granted(mode)
        self.state = GateState.OPEN
        self.spoken.append((mode, prompt))
        while prompt.frames > 1_000_000:  # noqa: ASYNC110 - a mixer asks for the same
            await asyncio.sleep(0.001)
        return prompt.seconds

    def _granted(self, mode: Supervision) -> None:
        if self.refuse is not None:
            self.state = GateState.CLOSED
            raise Refusal(self.refuse).error(str(mode))
        self.mode = mode
