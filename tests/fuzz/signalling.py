"""A target for atheris: whatever the platform sends, nothing is raised but errors of ours.

Run as ``python tests/fuzz/signalling.py -max_total_time=60``; needs the dependency group ``fuzz``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["voki_bots"]):
    from voki_bots.errors import ProtocolError
    from voki_bots.signalling import payloads, wire
    from voki_bots.signalling.channel import Connection
    from voki_bots.signalling.overlap import Overlap
    from voki_bots.signalling.presence import AgentsOnline

EVENTS = (
    *("signal", "ice_candidate", "participant_joined", "participant_left", "join", "leave", "call_ended"),
    *("whisper_start", "barge_end", "customer_joined", "customer_left", "call_assigned", "queue_update"),
    *("new_notification", "appointment_reminder", "presence_state", "presence_diff"),
    *("phx_reply", "phx_close", "phx_error"),
)
KEYS = (
    *("type", "sdp", "candidate", "sdpMid", "sdpMLineIndex", "user_id", "name", "role", "reason", "call_id"),
    *("supervisor_id", "supervisor_name", "position", "queue_size", "avg_wait_time", "online_agents", "data"),
    *("title", "body", "minutes_until", "metas", "phx_ref", "joins", "leaves", "status", "response", "id"),
)
WORDS = (
    "offer",
    "answer",
    "audio",
    "v=0\r\n",
    "customer",
    "call_assigned",
    "system",
    "ok",
    "u-1",
    "",
    "\ud800",
)
TOPICS = ("call:1", "queue:1", "presence:1", "notification:1")


def one_input(data: bytes) -> None:
    """Feed one input to everything that reads what the platform sent."""
    given = atheris.FuzzedDataProvider(data)
    topic, event = given.PickValueInList(list(TOPICS)), given.PickValueInList(list(EVENTS))
    with contextlib.suppress(ValueError, RecursionError):
        read(topic, event, value(given, 4))
    raw = given.ConsumeBytes(4096)
    for form in (raw, raw.decode("utf-8", "replace")):
        with contextlib.suppress(ProtocolError):
            wire.decode(form)
    with contextlib.suppress(ValueError, RecursionError):
        read(topic, event, json.loads(raw))


def value(given: Any, depth: int) -> Any:
    """Some JSON, often of the shapes and words that the platform uses."""
    match given.ConsumeIntInRange(0, 9 if depth else 6):
        case 0:
            return None
        case 1:
            return given.ConsumeBool()
        case 2:
            return given.ConsumeInt(9)
        case 3:
            return given.ConsumeFloat()
        case 4:
            return given.ConsumeUnicode(12)
        case 5 | 6:
            return given.PickValueInList(list(WORDS))
        case 7:
            return [value(given, depth - 1) for _ in range(given.ConsumeIntInRange(0, 3))]
        case _:
            names = (given.PickValueInList(list(KEYS)) for _ in range(given.ConsumeIntInRange(0, 6)))
            return {name: value(given, depth - 1) for name in names}


def read(topic: str, event: str, payload: Any) -> None:
    """What a payload that is JSON goes through."""
    payloads.call_event(event, payload)
    payloads.department_event(topic, event, payload)
    agents = AgentsOnline("d")
    for name in ("presence_diff", "presence_state", "presence_diff"):
        agents.receive(name, payload)
    machine = Connection()
    machine.opened(wire.V2, 0.0)
    subscription = machine.subscribe(topic)
    machine.join(subscription, 0.0)
    reply = {"status": "ok", "response": payload}
    Overlap(subscription)
    for frame in (["1", "1", topic, "phx_reply", reply], [None, "2", topic, event, payload], payload):
        with contextlib.suppress(ValueError):
            machine.receive(json.dumps(frame), 0.0)
    machine.wake(1000.0)
    machine.events()


def main() -> None:
    """Fuzz until the time is over."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
