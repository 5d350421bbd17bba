"""Voki's payloads: lenient in, minimal out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.calls import (
    AnswerReceived,
    AppointmentReminded,
    CallAssigned,
    CallEnded,
    CandidateReceived,
    CustomerDequeued,
    CustomerQueued,
    NotificationReceived,
    OfferReceived,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    QueueUpdated,
    Role,
    Supervision,
    SupervisionStarted,
    SupervisionStopped,
)
from voki_bots.signalling.payloads import (
    assigned_call,
    call_event,
    department_event,
    documented,
    ice_candidate,
    mute,
    signal,
)

ANA = Participant("u1", "João", Role.ATTENDANT)


@pytest.mark.parametrize(
    ("event", "payload", "expected"),
    [
        ("signal", {"type": "offer", "sdp": "v=0"}, OfferReceived("v=0")),
        ("signal", {"type": "answer", "sdp": "v=0"}, AnswerReceived("v=0")),
        (
            "participant_joined",
            {"user_id": "u1", "name": "João", "role": "attendant"},
            ParticipantJoined(ANA),
        ),
        ("join", {"user_id": "u1", "name": "João", "role": "attendant"}, ParticipantJoined(ANA)),
        ("participant_left", {"user_id": "u1"}, ParticipantLeft(Participant("u1"))),
        ("leave", {"user_id": 42}, ParticipantLeft(Participant("42"))),
        ("call_ended", {"reason": "completed"}, CallEnded("completed")),
        ("call_ended", None, CallEnded("unknown")),
        (
            "whisper_start",
            {"supervisor_id": "s", "supervisor_name": "Maria"},
            SupervisionStarted(Supervision.WHISPER, "s", "Maria"),
        ),
        ("monitor_start", {"supervisor_id": "s"}, SupervisionStarted(Supervision.MONITOR, "s")),
        ("barge_start", None, SupervisionStarted(Supervision.BARGE, "")),
        ("whisper_stop", {}, SupervisionStopped(Supervision.WHISPER)),
        ("barge_end", {"supervisor_id": "s"}, SupervisionStopped(Supervision.BARGE, "s")),
    ],
)
def test_what_the_call_topic_says(event: str, payload: object, expected: object) -> None:
    """Each documented event, and its aliases, become ours."""
    assert call_event(event, payload) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {"candidate": "candidate:1 1 udp", "sdpMid": "0", "sdpMLineIndex": 0},
            ("candidate:1 1 udp", "0", 0),
        ),
        ({"candidate": "candidate:1 1 udp", "sdpMid": 0}, ("candidate:1 1 udp", "0", None)),
        (
            {"candidate": {"candidate": "candidate:1", "sdpMid": "1", "sdpMLineIndex": 1}},
            ("candidate:1", "1", 1),
        ),
        ({"candidate": ""}, ("", None, None)),
        ({"candidate": None}, ("", None, None)),
    ],
)
def test_candidates_come_in_many_shapes(payload: object, expected: tuple[Any, ...]) -> None:
    """Numbers for mids, a candidate in a candidate, an empty one for the end (Q15)."""
    assert call_event("ice_candidate", payload) == CandidateReceived(*expected)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("chat", {"text": "x"}),
        ("mute", {"type": "audio", "muted": True}),
        ("signal", {"type": "pranswer", "sdp": "v=0"}),
        ("signal", {"type": "offer"}),
        ("signal", {"type": ["offer"], "sdp": "v=0"}),
        ("signal", "v=0"),
        ("ice_candidate", {}),
        ("ice_candidate", {"candidate": 7}),
        ("participant_joined", {}),
        ("participant_left", []),
    ],
)
def test_what_is_undocumented_or_of_no_use_is_none(event: str, payload: object) -> None:
    """The caller logs it once and goes on (Q10)."""
    assert call_event(event, payload) is None


def test_a_participant_without_user_id_is_known_by_role_and_name() -> None:
    """Customers may have none (Q26)."""
    event = call_event("participant_joined", {"user_id": None, "name": "Carlos", "role": "customer"})
    assert event == ParticipantJoined(Participant("customer+Carlos", "Carlos", Role.CUSTOMER))


def test_an_unlisted_role_is_unknown() -> None:
    """A role is never guessed."""
    event = call_event("participant_joined", {"user_id": "u", "role": "observer"})
    assert event == ParticipantJoined(Participant("u", "", Role.UNKNOWN))


@pytest.mark.parametrize("hostile", ["x\ny", "\x00", "x" * 5000, "", "a\ud800"])
def test_a_hostile_id_is_not_taken_as_one(hostile: str) -> None:
    """Role and name stand for it."""
    event = call_event("participant_joined", {"user_id": hostile, "name": "N", "role": "customer"})
    assert event == ParticipantJoined(Participant("customer+N", "N", Role.CUSTOMER))


def test_names_are_cleaned_and_cut() -> None:
    """They end up in logs, files and pages."""
    event = call_event("participant_joined", {"user_id": "u", "name": "a\nb\ud800" + "c" * 5000})
    assert isinstance(event, ParticipantJoined)
    assert event.participant.name.startswith("a b") and len(event.participant.name) <= 500


@pytest.mark.parametrize(
    ("topic", "event", "payload", "expected"),
    [
        (
            "queue:d",
            "customer_joined",
            {"call_id": "c", "customer_name": "Carlos", "position": 3, "queue_size": 5},
            CustomerQueued("d", "c", "Carlos", 3, 5),
        ),
        ("queue:d", "customer_joined", {"call_id": "c", "position": "3"}, CustomerQueued("d", "c", "", 3)),
        (
            "queue:d",
            "customer_left",
            {"call_id": "c", "reason": "timeout"},
            CustomerDequeued("d", "c", "timeout"),
        ),
        (
            "queue:d",
            "call_assigned",
            {"call_id": "c", "user_id": "u", "user_name": "João"},
            CallAssigned("d", "c", "u", "João"),
        ),
        (
            "queue:d",
            "queue_update",
            {"queue_size": 4, "avg_wait_time": 25, "online_agents": 3},
            QueueUpdated("d", 4, 25.0, 3),
        ),
        ("queue:d", "queue_update", None, QueueUpdated("d")),
        (
            "notification:u",
            "new_notification",
            {"type": "call_assigned", "title": "T", "body": "B", "data": {"call_id": "c"}},
            NotificationReceived("u", "call_assigned", "T", "B", "c"),
        ),
        ("notification:u", "new_notification", {"type": "system"}, NotificationReceived("u", "system")),
        (
            "notification:u",
            "appointment_reminder",
            {
                "appointment_id": "a",
                "title": "T",
                "scheduled_at": "2026-02-20T10:00:00Z",
                "customer_name": "C",
                "minutes_until": 15,
            },
            AppointmentReminded("u", "a", "T", "2026-02-20T10:00:00Z", "C", 15),
        ),
    ],
)
def test_what_departments_and_users_are_told(
    topic: str, event: str, payload: object, expected: object
) -> None:
    """Each documented event of the queue and notification topics."""
    assert department_event(topic, event, payload) == expected


@pytest.mark.parametrize(
    ("topic", "event", "payload"),
    [
        ("queue:d", "customer_joined", {}),
        ("queue:d", "chat", {"call_id": "c"}),
        ("notification:u", "new_notification", {}),
        ("notification:u", "appointment_reminder", {"appointment_id": None}),
        ("call:c", "customer_joined", {"call_id": "c"}),
    ],
)
def test_department_events_of_no_use_are_none(topic: str, event: str, payload: object) -> None:
    """Undocumented, or without the id that it is about."""
    assert department_event(topic, event, payload) is None


def test_a_notification_of_an_assignment_is_one() -> None:
    """Without a department, which it does not name."""
    event = NotificationReceived("u", "call_assigned", call_id="c")
    assert assigned_call(event) == CallAssigned("", "c", "u")


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (signal("offer", "v=0"), {"type": "offer", "sdp": "v=0"}),
        (mute("audio", True), {"type": "audio", "muted": True}),
        (
            ice_candidate("candidate:1", "0", 0),
            {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": None},
        ),
        (
            ice_candidate(""),
            {"candidate": "", "sdpMid": None, "sdpMLineIndex": None, "usernameFragment": None},
        ),
    ],
)
def test_what_we_send_is_as_documented(built: object, expected: object) -> None:
    """Nothing more than Voki's page shows, and all keys of a candidate."""
    assert built == expected


@pytest.mark.parametrize(
    ("topic", "event", "allowed"),
    [
        ("call:1", "signal", True),
        ("call:1", "mute", True),
        ("call:1", "join", False),
        ("queue:1", "signal", False),
    ],
)
def test_only_documented_events_may_be_pushed(topic: str, event: str, allowed: bool) -> None:
    """Others could crash the channel."""
    assert documented(topic, event) is allowed


EVENTS = st.sampled_from(
    [
        "signal",
        "ice_candidate",
        "join",
        "leave",
        "call_ended",
        "whisper_start",
        "customer_joined",
        "queue_update",
        "call_assigned",
        "new_notification",
        "appointment_reminder",
    ]
)
KEYS = st.sampled_from(
    [
        "type",
        "sdp",
        "candidate",
        "sdpMid",
        "sdpMLineIndex",
        "user_id",
        "name",
        "role",
        "call_id",
        "position",
        "data",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
)


@given(EVENTS, JSON)
def test_no_payload_raises(event: str, payload: object) -> None:
    """Whatever the platform sends, nothing is raised."""
    call_event(event, payload)
    department_event("queue:d", event, payload)
    department_event("notification:u", event, payload)
