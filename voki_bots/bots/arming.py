"""The gate of a supervisor's own session: it opens for one mode, when who will hear it is proved. Pure.

    listening → arming → open → closed

To arm it, a supervisor takes a mode; the configured action is done; and the platform confirms it by an event
that names the mode and **us**, or an operator has signed, for this tenant, that it routes so. Whatever may
have changed who hears what (a reconnect, a renegotiation, somebody unknown, another mode, a channel that was
away) closes it and forgets all of that: it must be armed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from voki_bots.bots.gate import Closing, Gate, GateState, Refusal
from voki_bots.calls import Supervision

SPEAKING = (Supervision.WHISPER, Supervision.BARGE)
"""Modes in which a supervisor is heard by anybody."""


class SupervisionGate(Gate):
    """Whether a supervisor may be heard now.

    Args:
        user_id: Us, as the platform calls us.
        proven: Modes of which a signed profile says that the platform routes them as it should.
        paused: Whether the recording of the call is paused: what cannot be recorded is not said.

    Attributes:
        mode: Which is taken; None while none is.
    """

    def __init__(
        self,
        user_id: str,
        *,
        proven: Collection[Supervision] = (),
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(announces=False)
        self.user_id = user_id
        self.mode: Supervision | None = None
        self._proven = frozenset(proven)
        self._elsewhere = paused
        self._acted = False
        self._confirmed = False
        self._early: Supervision | None = None

    def refusal(self) -> Refusal | None:
        """Say why nothing may be sent now, or None if it may."""
        if self._over:
            return Refusal(Closing.CALL_OVER)
        if not self._connected:
            return Refusal(self._closing or Closing.NOT_CONNECTED)
        if self._paused or self._elsewhere():
            return Refusal(Closing.PAUSED)
        if self._closing is not None:
            return Refusal(self._closing)
        if self.mode is None:
            return Refusal(Closing.NOT_ARMED)
        return None if self.state is GateState.OPEN else Refusal(Closing.NOT_CONFIRMED)

    def take(self, mode: Supervision) -> None:
        """Begin to arm for a mode; whatever was armed before is closed.

        Raises:
            SupervisionError: If nobody is heard in this mode, the call is over, or media are not up: a mode
                is taken after the negotiation, never before.
        """
        self._forget()
        if mode not in SPEAKING:
            raise Refusal(Closing.HEARD_BY_NOBODY).error(str(mode))
        if self._over or not self._connected:
            why = Closing.CALL_OVER if self._over else self._closing or Closing.NOT_CONNECTED
            raise Refusal(why).error(str(mode))
        self._closing = None
        self.mode = mode
        self._confirmed = self._early is mode
        self.state = GateState.ARMING

    def acted(self) -> None:
        """The configured action was done, and the platform took it."""
        if self.state is GateState.ARMING:
            self._acted = True
            self._settle()

    def supervised(self, mode: Supervision, supervisor_id: str) -> None:
        """The platform says that somebody supervises the call now, in a mode."""
        if self.mode is None:
            # Where the mode is taken by joining, the word of it comes before there are media.
            self._early = mode if supervisor_id == self.user_id and not self._connected else None
            return
        if supervisor_id != self.user_id:
            self.close(Closing.OTHER_SUPERVISOR)
        elif mode is not self.mode:
            self.close(Closing.MODE_CHANGED)
        else:
            self._confirmed = True
            self._settle()

    def arm(self) -> None:
        """Opens nothing: a supervisor takes a mode (`take`)."""

    def connected(self) -> None:
        """The media connection is up; nothing of before counts."""
        super().connected()
        if self._closing is Closing.RECONNECT:
            return
        self._settle()

    def close(self, why: Closing) -> None:
        """Close at once, whatever the doubt is; only `take` leads out again."""
        if self._connected or why is not Closing.RENEGOTIATION:
            self._early = None
        if self.mode is None and why is Closing.RENEGOTIATION:
            return  # nothing was armed, and this is how every connection begins
        self._forget()
        super().close(why)

    def _forget(self) -> None:
        self.mode, self._acted, self._confirmed = None, False, False
        self.state = GateState.CLOSED if self.state is not GateState.LISTENING else GateState.LISTENING

    def _settle(self) -> None:
        if self.mode is None or self.state is not GateState.ARMING or not self._connected:
            return
        if self._acted and (self._confirmed or self.mode in self._proven):
            self.state = GateState.OPEN
