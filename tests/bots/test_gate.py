"""The gate: closed by default, and closed again by every doubt."""

import pytest

from voki_bots.bots.gate import HARMLESS, Closing, Gate, GateState
from voki_bots.errors import SupervisionError


def opened() -> Gate:
    gate = Gate(announces=True)
    gate.arm()
    gate.connected()
    return gate


def why(gate: Gate) -> Closing | None:
    refusal = gate.refusal()
    return refusal.why if refusal else None


def test_closed_by_default() -> None:
    """A gate of a bot that is not configured to speak refuses, whatever else holds."""
    gate = Gate()
    gate.connected()
    assert why(gate) is Closing.NOT_CONFIGURED


def test_arming_what_is_not_configured_raises() -> None:
    """Arming a gate that can never open is a SupervisionError with the reason as a value."""
    with pytest.raises(SupervisionError) as caught:
        Gate().arm()
    assert caught.value.why == "not_configured"


def test_connecting_alone_opens_nothing() -> None:
    """A configured bot that never armed may not send."""
    gate = Gate(announces=True)
    gate.connected()
    assert why(gate) is Closing.NOT_CONFIRMED


def test_armed_and_connected_is_open() -> None:
    """Armed and connected, a configured bot may send."""
    assert (opened().refusal(), opened().state) == (None, GateState.OPEN)


CLOSES = [reason for reason in Closing if reason not in HARMLESS]


@pytest.mark.parametrize("reason", sorted(HARMLESS))
def test_who_hears_it_does_not_matter_to_what_is_meant_for_all(reason: Closing) -> None:
    """An announcement goes on when somebody joins or the lines are negotiated anew."""
    gate = opened()
    gate.close(reason)
    assert gate.refusal() is None


@pytest.mark.parametrize("reason", CLOSES)
def test_every_closing_closes(reason: Closing) -> None:
    """Each closing reason refuses from then on, and is what the refusal says."""
    gate = opened()
    gate.close(reason)
    assert why(gate) is reason


@pytest.mark.parametrize("reason", [r for r in CLOSES if r is not Closing.CALL_OVER])
def test_a_closed_gate_stays_closed_until_armed(reason: Closing) -> None:
    """Reconnecting does not open what was closed; arming does."""
    gate = opened()
    gate.close(reason)
    gate.connected()
    assert gate.refusal() is not None
    gate.arm()
    assert gate.refusal() is None


def test_nothing_opens_after_the_call() -> None:
    """After the call is over, arming is refused."""
    gate = opened()
    gate.close(Closing.CALL_OVER)
    with pytest.raises(SupervisionError):
        gate.arm()


def test_a_pause_closes_and_gives_back() -> None:
    """While the recording is paused nothing is said; afterwards the armed gate is as before."""
    gate = opened()
    gate.pause()
    assert why(gate) is Closing.PAUSED
    gate.resume()
    assert gate.refusal() is None
