"""The channel machine against what a real Phoenix 1.8.12 answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voki_bots.signalling.channel import Connection
from voki_bots.signalling.membership import Closed, Errored, Happened, Joined, Received, State
from voki_bots.signalling.wire import Message, decode

RECORDED = json.loads((Path(__file__).parent / "phoenix" / "recorded-1.8.12.json").read_text())
SCENARIOS = {scenario["name"]: scenario["steps"] for scenario in RECORDED["scenarios"]}
FRAMES = [
    frame
    for steps in SCENARIOS.values()
    for step in steps
    for frame in [*step["send"], *step["recv"]]
    if isinstance(frame, list)
]


def as_ref(value: object) -> str | None:
    return None if value is None else str(value)


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_every_recorded_message_is_read(frame: list[Any]) -> None:
    """Each frame of the recordings is a message with the same parts."""
    expected = Message(as_ref(frame[0]), as_ref(frame[1]), frame[2], frame[3], frame[4])
    assert decode(json.dumps(frame)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("join_ok", [Joined, Received]),
        ("join_refused", [Closed]),
        ("join_crash", [Errored]),
        ("join_unmatched_topic", [Closed]),
        ("broadcast_before_reply", [Joined, Received, Received]),
        ("pushes_then_reply", [Joined, Received, Received, Received, Received]),
        ("crash_with_pushes_in_flight", [Joined, Received, Errored]),
        ("stop_normal_with_reply", [Joined, Received, Closed]),
        ("stop_error", [Joined, Received, Errored]),
        ("exit_shutdown", [Joined, Received, Errored]),
        ("call_ended", [Joined, Received, Received, Closed]),
        ("presence_join", [Joined, Received, Received]),
        ("intercepted_broadcast", [Joined, Received]),
        ("notification_forbidden", [Closed]),
        ("notification", [Joined, Received]),
    ],
)
def test_a_recorded_conversation_gives_these_events(name: str, expected: list[type]) -> None:
    """Our machine asks what was asked then, and is told what was answered then."""
    machine, topic = Connection(), SCENARIOS[name][0]["send"][0][2]
    machine.opened("2.0.0", 0.0)
    channel = machine.subscribe(topic)
    machine.join(channel, 0.0)
    for number, step in enumerate(SCENARIOS[name]):
        for frame in step["send"] if number else ():
            machine.push(channel, frame[3], frame[4], 0.0)
        for frame in step["recv"]:
            machine.receive(json.dumps(frame), 0.0)
    assert [type(o.event) for o in machine.events() if isinstance(o, Happened)] == expected


def test_a_recorded_duplicate_join_leaves_the_newer_channel_joined() -> None:
    """The old phx_close comes between the new reply and the new channel's pushes."""
    machine = Connection()
    machine.opened("2.0.0", 0.0)
    old, new = machine.subscribe("call:1"), machine.subscribe("call:1")
    for channel, step in zip((old, new), SCENARIOS["duplicate_join"], strict=False):
        machine.join(channel, 0.0)
        for frame in step["recv"]:
            machine.receive(json.dumps(frame), 0.0)
    assert (old.state, new.state) == (State.CLOSED, State.JOINED)
