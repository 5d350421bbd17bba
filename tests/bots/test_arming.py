"""A supervisor's gate opens for one mode when it is proved who hears it, and every doubt closes it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from voki_bots.bots.arming import SupervisionGate
from voki_bots.bots.gate import Closing, GateState
from voki_bots.calls import Supervision
from voki_bots.errors import SupervisionError

WHISPER, BARGE, MONITOR = Supervision.WHISPER, Supervision.BARGE, Supervision.MONITOR


def ready(*proven: Supervision) -> SupervisionGate:
    gate = SupervisionGate("us", proven=proven)
    gate.connected()
    return gate


def armed(mode: Supervision = WHISPER) -> SupervisionGate:
    gate = ready()
    gate.take(mode)
    gate.acted()
    gate.supervised(mode, "us")
    return gate


def why(gate: SupervisionGate) -> str:
    refusal = gate.refusal()
    return "" if refusal is None else str(refusal.why)


def test_it_opens_after_the_action_and_the_word_of_the_platform() -> None:
    """In this order, step by step, and not a step earlier."""
    gate = SupervisionGate("us")
    said = [(why(gate), str(gate.state))]
    steps: list[Callable[[], None]] = [
        gate.connected,
        lambda: gate.take(WHISPER),
        gate.acted,
        lambda: gate.supervised(WHISPER, "us"),
    ]
    for step in steps:
        step()
        said.append((why(gate), str(gate.state)))
    assert said == [
        ("not_connected", "listening"),
        ("not_armed", "listening"),
        ("not_confirmed", "arming"),
        ("not_confirmed", "arming"),
        ("", "open"),
    ]


def test_the_word_may_come_before_the_answer_to_the_action() -> None:
    """A broadcast may overtake a reply."""
    gate = ready()
    gate.take(WHISPER)
    gate.supervised(WHISPER, "us")
    assert why(gate) == "not_confirmed"
    gate.acted()
    assert why(gate) == ""


def test_what_is_proved_needs_no_word_but_the_action() -> None:
    """An operator signed that this platform routes whispers as it should; of barging nothing is known."""
    gate = ready(WHISPER)
    gate.take(WHISPER)
    assert why(gate) == "not_confirmed"
    gate.acted()
    assert why(gate) == ""
    gate.take(BARGE)
    gate.acted()
    assert why(gate) == "not_confirmed"


@pytest.mark.parametrize(
    ("mode", "who"), [(WHISPER, "somebody"), (BARGE, "us"), (MONITOR, "us"), (BARGE, "somebody")]
)
@pytest.mark.parametrize("open_", [True, False])
def test_another_word_closes_it(mode: Supervision, who: str, open_: bool) -> None:
    """Of another supervisor, or of another mode: what it means for us is not known."""
    gate = armed() if open_ else ready()
    if not open_:
        gate.take(WHISPER)
        gate.acted()
    gate.supervised(mode, who)
    assert why(gate) == ("mode_changed" if who == "us" else "other_supervisor")
    gate.supervised(WHISPER, "us")
    assert why(gate) == ("mode_changed" if who == "us" else "other_supervisor")


@pytest.mark.parametrize(
    "doubt",
    [
        Closing.RECONNECT,
        Closing.RENEGOTIATION,
        Closing.SIGNALLING,
        Closing.UNKNOWN_PARTICIPANT,
        Closing.MODE_CHANGED,
        Closing.STOPPED,
    ],
)
@pytest.mark.parametrize("state", [GateState.ARMING, GateState.OPEN])
def test_every_doubt_closes_it_and_only_arming_anew_opens_it(doubt: Closing, state: GateState) -> None:
    """Neither a connection that is back nor a late word of the platform does."""
    gate = armed() if state is GateState.OPEN else ready()
    if state is GateState.ARMING:
        gate.take(WHISPER)
    gate.close(doubt)
    gate.connected()
    gate.acted()
    gate.supervised(WHISPER, "us")
    assert why(gate) == str(doubt)
    gate.take(WHISPER)
    gate.acted()
    gate.supervised(WHISPER, "us")
    assert why(gate) == ""


def test_a_pause_silences_it_for_as_long_as_it_lasts() -> None:
    """What cannot be recorded is not said; what was armed stays armed."""
    gate = armed()
    gate.pause()
    assert why(gate) == "paused"
    gate.resume()
    assert why(gate) == ""


@pytest.mark.parametrize(
    ("gate", "mode", "refused"),
    [
        (SupervisionGate("us"), WHISPER, "not_connected"),
        (ready(), MONITOR, "heard_by_nobody"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(gate: SupervisionGate, mode: Supervision, refused: str) -> None:
    """With the reason as a value."""
    with pytest.raises(SupervisionError) as error:
        gate.take(mode)
    assert error.value.why == refused


@pytest.mark.parametrize(
    "doubt", [None, Closing.RENEGOTIATION, Closing.SIGNALLING, Closing.UNKNOWN_PARTICIPANT]
)
def test_a_mode_that_was_taken_by_joining_is_confirmed_before_there_are_media(doubt: Closing | None) -> None:
    """Until anything happens after they came; another mode is not confirmed by it."""
    gate = SupervisionGate("us")
    gate.supervised(WHISPER, "us")
    gate.close(Closing.RENEGOTIATION)
    gate.connected()
    if doubt is not None:
        gate.close(doubt)
    for mode, right in ((BARGE, False), (WHISPER, doubt is None)):
        gate.take(mode)
        gate.acted()
        assert (why(gate) == "") is right


def test_after_the_call_nothing_opens_it() -> None:
    """Not even arming."""
    gate = armed()
    gate.close(Closing.CALL_OVER)
    with pytest.raises(SupervisionError, match="the call is over"):
        gate.take(WHISPER)
    assert why(gate) == "call_over"


def test_arming_as_announcements_do_opens_nothing() -> None:
    """There is one way only."""
    gate = ready()
    gate.arm()
    assert why(gate) == "not_armed"


def test_two_hundred_seeded_sequences_of_faults_let_nothing_through() -> None:
    """An account of its own of what was proved since the last doubt says the same after each step."""
    for seed in range(200):
        _sequence(random.Random(seed))


def _sequence(rng: random.Random) -> None:
    gate = SupervisionGate("us", proven=(BARGE,) if rng.random() < 0.3 else ())
    connected = paused = acted = confirmed = False
    mode: Supervision | None = None
    early: Supervision | None = None
    for _ in range(100):
        match rng.choice(["connected", "take", "acted", "word", "doubt", "pause", "resume"]):
            case "connected":
                gate.connected()
                connected = True
            case "take":
                wanted = rng.choice([WHISPER, BARGE])
                try:
                    gate.take(wanted)
                    mode, confirmed = wanted, early is wanted
                except SupervisionError:
                    assert not connected
                    mode, confirmed = None, False
                acted = False
            case "acted":
                gate.acted()
                acted = acted or mode is not None
            case "word":
                said, who = rng.choice([WHISPER, BARGE]), rng.choice(["us", "us", "them"])
                gate.supervised(said, who)
                if mode is None:
                    early = said if who == "us" and not connected else None
                elif said is not mode or who != "us":
                    early = None if connected else early
                if mode is not None and (said is not mode or who != "us"):
                    mode, acted, confirmed = None, False, False
                elif mode is not None:
                    confirmed = True
            case "doubt":
                doubt = rng.choice([Closing.RECONNECT, Closing.RENEGOTIATION, Closing.SIGNALLING])
                gate.close(doubt)
                early = None if connected or doubt is not Closing.RENEGOTIATION else early
                connected = connected and doubt is not Closing.RECONNECT
                mode, acted, confirmed = None, False, False
            case "pause":
                gate.pause()
                paused = True
            case "resume":
                gate.resume()
                paused = False
        proved = confirmed or (mode is BARGE and BARGE in gate._proven)
        may = mode is not None and connected and not paused and acted and proved
        assert (gate.refusal() is None) is may
