"""Voki's JSON payloads ↔ our events: lenient in, minimal out. Pure.

What Voki documents is a lower bound on the fields and an upper bound on confidence: ids may be numbers or
missing, optional fields may be absent, null or of another type, and there may be more of them. What cannot be
used at all gives None; nothing here raises. Text is cut and cleaned of control characters, for it ends up in
logs, files and pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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
    ServiceEvent,
    SignalEvent,
    Supervision,
    SupervisionStarted,
    SupervisionStopped,
    problem_with_id,
)

MAX_TEXT = 500
"""Characters of a name, a title or a reason that are kept."""

_DOCUMENTED = frozenset({"signal", "ice_candidate", "mute"})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SUPERVISION = re.compile(r"(monitor|whisper|barge)_(start|stop|end)(?:ed)?")


def documented(topic: str, event: str) -> bool:
    """Whether Voki documents that a client sends this event to this topic."""
    return topic.startswith("call:") and event in _DOCUMENTED


# ---------------------------------------------------------------- out


def signal(kind: str, sdp: str) -> dict[str, Any]:
    """The payload of ``signal``; `kind` is ``offer`` or ``answer``."""
    return {"type": kind, "sdp": sdp}


def ice_candidate(
    candidate: str, mid: str | None = None, line: int | None = None, fragment: str | None = None
) -> dict[str, Any]:
    """The payload of ``ice_candidate``, in the shape of a browser's; an empty candidate ends them (Q15).

    All four keys are always there, for an SFU may demand them (W3C WebRTC, RTCIceCandidateInit).
    """
    return {"candidate": candidate, "sdpMid": mid, "sdpMLineIndex": line, "usernameFragment": fragment}


def mute(kind: str, muted: bool) -> dict[str, Any]:
    """The payload of ``mute``; `kind` is ``audio`` or ``video``."""
    return {"type": kind, "muted": muted}


# ---------------------------------------------------------------- in: call:


def call_event(event: str, payload: object) -> SignalEvent | None:
    """Read what a ``call:`` topic says; None if Voki does not document it, or it cannot be used.

    ``join`` and ``leave`` are what Voki's overview calls the participant events (C8).
    """
    body = payload if isinstance(payload, Mapping) else {}
    if found := _SUPERVISION.fullmatch(event):
        return _supervision(found[1], found[2], body)
    match event:
        case "signal":
            return _description(body)
        case "ice_candidate":
            return _candidate(body)
        case "participant_joined" | "join":
            person = _participant(body)
            return ParticipantJoined(person) if person else None
        case "participant_left" | "leave":
            person = _participant(body)
            return ParticipantLeft(person) if person else None
        case "call_ended":
            return CallEnded(clean_text(body.get("reason")) or "unknown")
        case _:
            return None


def _description(body: Mapping[Any, Any]) -> OfferReceived | AnswerReceived | None:
    sdp = body.get("sdp")
    if not isinstance(sdp, str) or not sdp:
        return None
    match body.get("type"):
        case "offer":
            return OfferReceived(sdp)
        case "answer":
            return AnswerReceived(sdp)
        case _:
            return None


def _candidate(body: Mapping[Any, Any]) -> CandidateReceived | None:
    inner = body.get("candidate", "absent")
    if isinstance(inner, Mapping):  # the whole RTCIceCandidate under its own name
        body, inner = inner, inner.get("candidate", "absent")
    if inner is None:
        inner = ""
    if not isinstance(inner, str) or inner == "absent":
        return None
    mid = body.get("sdpMid")
    if _is_int(mid):
        mid = str(mid)
    return CandidateReceived(
        inner.strip(), mid if isinstance(mid, str) else None, _count(body.get("sdpMLineIndex"))
    )


def _supervision(mode: str, what: str, body: Mapping[Any, Any]) -> SupervisionStarted | SupervisionStopped:
    # Without a usable id too: whoever guards a microphone must hear of every change (design section 10).
    supervisor = clean_id(body.get("supervisor_id")) or clean_id(body.get("user_id")) or ""
    if what == "start":
        name = clean_text(body.get("supervisor_name")) or clean_text(body.get("name"))
        return SupervisionStarted(Supervision(mode), supervisor, name)
    return SupervisionStopped(Supervision(mode), supervisor)


def _participant(body: Mapping[Any, Any]) -> Participant | None:
    """Read a participant; a customer may have no user id, and then role and name stand for it (Q26)."""
    if isinstance(inner := body.get("participant", body.get("user")), Mapping):
        body = inner
    name, role = (
        clean_text(body.get("name")) or clean_text(body.get("user_name")),
        clean_text(body.get("role")),
    )
    key = clean_id(body.get("user_id")) or clean_id(body.get("id")) or clean_id(body.get("participant_id"))
    if key is None and not name and not role:
        return None
    return Participant(
        key or clean_id(f"{role or 'unknown'}+{name}"[:200]) or "unknown+", name, Role.parse(role)
    )


# ---------------------------------------------------------------- in: queue:, notification:


def department_event(topic: str, event: str, payload: object) -> ServiceEvent | None:
    """Read what a ``queue:`` or ``notification:`` topic says; None if undocumented or of no use."""
    kind, _, owner = topic.partition(":")
    body = payload if isinstance(payload, Mapping) else {}
    if kind == "queue":
        return _queue_event(owner, event, body)
    if kind == "notification":
        return _notification_event(owner, event, body)
    return None


def assigned_call(event: NotificationReceived) -> CallAssigned | None:
    """Read a notification of the type ``call_assigned`` as the assignment it tells of."""
    if event.kind != "call_assigned" or event.call_id is None:
        return None
    return CallAssigned("", event.call_id, event.user_id)


def _queue_event(department_id: str, event: str, body: Mapping[Any, Any]) -> ServiceEvent | None:
    if event == "queue_update":
        wait = body.get("avg_wait_time")
        seconds = float(wait) if isinstance(wait, int | float) and not isinstance(wait, bool) else None
        return QueueUpdated(
            department_id, _count(body.get("queue_size")), seconds, _count(body.get("online_agents"))
        )
    call_id = clean_id(body.get("call_id"))
    if call_id is None:
        return None
    match event:
        case "customer_joined":
            return CustomerQueued(
                department_id,
                call_id,
                clean_text(body.get("customer_name")),
                _count(body.get("position")),
                _count(body.get("queue_size")),
            )
        case "customer_left":
            return CustomerDequeued(department_id, call_id, clean_text(body.get("reason")))
        case "call_assigned":
            return CallAssigned(
                department_id, call_id, clean_id(body.get("user_id")) or "", clean_text(body.get("user_name"))
            )
        case _:
            return None


def _notification_event(user_id: str, event: str, body: Mapping[Any, Any]) -> ServiceEvent | None:
    if event == "new_notification":
        kind = clean_text(body.get("type"))
        inner = body.get("data")
        call_id = clean_id(inner.get("call_id")) if isinstance(inner, Mapping) else None
        if not kind:
            return None
        return NotificationReceived(
            user_id,
            kind,
            clean_text(body.get("title")),
            clean_text(body.get("body")),
            call_id or clean_id(body.get("call_id")),
        )
    if event == "appointment_reminder" and (appointment_id := clean_id(body.get("appointment_id"))):
        return AppointmentReminded(
            user_id,
            appointment_id,
            clean_text(body.get("title")),
            clean_text(body.get("scheduled_at")),
            clean_text(body.get("customer_name")),
            _count(body.get("minutes_until")),
        )
    return None


# ---------------------------------------------------------------- single values


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def clean_id(value: object) -> str | None:
    """An id from the network if it is usable; numbers become strings."""
    if _is_int(value):
        value = str(value)
    return value if isinstance(value, str) and problem_with_id(value) is None else None


def clean_text(value: object) -> str:
    """Text fit for a log or a page; what is no string is no text."""
    return _UNPRINTABLE.sub(" ", value[:MAX_TEXT]).strip() if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
