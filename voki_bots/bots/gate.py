"""The only way to the sender, and what closes a pipeline before any sink. Pure.

Everything is closed by default, and every doubt closes it again: a session whose bot is not configured to
speak has no sender at all (its Peer offers ``recvonly``), and asking its gate says why. Nothing here reads a
clock or does IO; the session feeds it facts and asks `Gate.refusal` before each packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from voki_bots.calls import Supervision
from voki_bots.errors import SupervisionError


class GateState(StrEnum):
    """Where a gate is; only `OPEN` lets anything through."""

    LISTENING = "listening"
    ARMING = "arming"
    OPEN = "open"
    CLOSED = "closed"


class Closing(StrEnum):
    """Why a gate is closed, as a value that callers can match."""

    NOT_CONFIGURED = "not_configured"
    NOT_CONNECTED = "not_connected"
    NOT_CONFIRMED = "not_confirmed"
    NOT_ARMED = "not_armed"
    HEARD_BY_NOBODY = "heard_by_nobody"
    NOT_PERMITTED = "not_permitted"
    NOT_THERE = "not_there"
    ON_HOLD = "on_hold"
    BUSY = "busy"
    OTHER_SUPERVISOR = "other_supervisor"
    PAUSED = "paused"
    RECONNECT = "reconnect"
    RENEGOTIATION = "renegotiation"
    SIGNALLING = "signalling"
    UNKNOWN_PARTICIPANT = "unknown_participant"
    MODE_CHANGED = "mode_changed"
    STOPPED = "stopped"
    CALL_OVER = "call_over"


SENTENCES = {
    Closing.NOT_CONFIGURED: "this bot is not configured to speak; give it a way, and an account that may",
    Closing.NOT_CONNECTED: "the media connection is not up; try again in a moment",
    Closing.NOT_CONFIRMED: "the platform has not confirmed who will hear it; try again, or prove it with "
    "`voki-bots probe` and a signed profile",
    Closing.NOT_ARMED: "no mode is taken; take whisper or barge first",
    Closing.HEARD_BY_NOBODY: "who monitors is heard by nobody; take whisper or barge",
    Closing.NOT_PERMITTED: "the platform does not let this user; give the account the role of a supervisor",
    Closing.NOT_THERE: "there is no attendant in the call who could hear it; wait until one has joined",
    Closing.ON_HOLD: "the call is on hold, and nobody would hear it; wait until it goes on",
    Closing.BUSY: "somebody else supervises this call with the same account; use one for each person",
    Closing.OTHER_SUPERVISOR: "another supervisor took the call; agree with them, then arm it again",
    Closing.PAUSED: "the recording is paused, and what cannot be recorded is not said",
    Closing.RECONNECT: "the connection was replaced; it must be armed again",
    Closing.RENEGOTIATION: "the session was renegotiated; it must be armed again",
    Closing.SIGNALLING: "the platform's channel was away; it must be armed again",
    Closing.UNKNOWN_PARTICIPANT: "somebody unknown joined; it must be armed again",
    Closing.MODE_CHANGED: "the supervision mode changed; it must be armed again",
    Closing.STOPPED: "it was stopped",
    Closing.CALL_OVER: "the call is over",
}


HARMLESS = frozenset(
    {Closing.RENEGOTIATION, Closing.SIGNALLING, Closing.UNKNOWN_PARTICIPANT, Closing.MODE_CHANGED}
)
"""What changes who hears it or who can tell, which is no matter where it is meant for all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing may be sent now."""

    why: Closing

    def __str__(self) -> str:
        return SENTENCES[self.why]

    def error(self, mode: str) -> SupervisionError:
        """The error that tells a plugin so."""
        return SupervisionError(f"cannot speak ({mode}): {self}", mode=mode, why=str(self.why))


class Gate:
    """Whether one session may send audio, decided from facts alone.

    Args:
        announces: The bot is configured to speak to all (a greeter). Without it nothing ever opens.
    """

    def __init__(self, *, announces: bool = False) -> None:
        self._announces = announces
        self._connected = False
        self._paused = False
        self._over = False
        self._closing: Closing | None = None
        self.state = GateState.LISTENING

    def refusal(self) -> Refusal | None:
        """Say why nothing may be sent now, or None if it may."""
        if self._over:
            return Refusal(Closing.CALL_OVER)
        if not self._announces:
            return Refusal(Closing.NOT_CONFIGURED)
        if not self._connected:
            return Refusal(self._closing or Closing.NOT_CONNECTED)
        if self._paused:
            return Refusal(Closing.PAUSED)
        if self._closing is not None:
            return Refusal(self._closing)
        if self.state is not GateState.OPEN:
            return Refusal(Closing.NOT_CONFIRMED)
        return None

    def arm(self) -> None:
        """Ask for the gate to be opened once its conditions hold.

        Raises:
            SupervisionError: If they can never hold in this session.
        """
        if self._over or not self._announces:
            why = Closing.CALL_OVER if self._over else Closing.NOT_CONFIGURED
            raise Refusal(why).error("announce")
        self._closing = None
        self.state = GateState.ARMING
        self._settle()

    def connected(self) -> None:
        """The media connection is up."""
        self._connected = True
        self._settle()

    def close(self, why: Closing) -> None:
        """Close at once; only `arm` leads out again, and after `Closing.CALL_OVER` nothing does.

        What is said to all is said to whoever comes, whatever else a supervisor does: `HARMLESS` closes
        nothing here.
        """
        if why in HARMLESS and self._announces:
            return
        if why in (Closing.RECONNECT, Closing.NOT_CONNECTED):
            self._connected = False
        if why is Closing.CALL_OVER:
            self._over = True
        self._closing = why
        self.state = GateState.CLOSED

    def supervised(self, mode: Supervision, supervisor_id: str) -> None:
        """The platform says that somebody supervises the call now, in a mode."""
        self.close(Closing.MODE_CHANGED)

    def pause(self) -> None:
        """The recording is paused: what cannot be recorded is not said."""
        self._paused = True

    def resume(self) -> None:
        """The recording goes on. What was armed before stays armed."""
        self._paused = False

    def _settle(self) -> None:
        if self.state is GateState.ARMING and self._connected:
            self.state = GateState.OPEN
