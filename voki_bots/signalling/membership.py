"""What there is to say and to remember about one channel of a socket: its states, events and waiting pushes.

Sans-IO: `channel.Connection` is what moves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TypeAlias

from voki_bots.errors import SignallingError

MAX_JOIN_REFUSALS, MAX_REJOIN_REFUSALS = 2, 3
"""How often in a row a join, or a rejoin, may be refused for an unknown reason before it is believed."""

TRANSIENT_REASONS = frozenset({"join crashed"})
"""Refusals of a join after which it is tried again (Q7)."""

FINAL_REASONS = frozenset(
    {
        "unauthorized",
        "unauthenticated",
        "forbidden",
        "denied",
        "access denied",
        "not allowed",
        "invalid token",
        "not found",
        "unmatched topic",
        "too many channels joined",
        "call ended",
        "completed",
        "missed",
        "cancelled",
    }
)
"""Refusals that are believed at once, in lower case and with spaces."""


class State(StrEnum):
    """Where a channel is in its life."""

    NEW = "new"
    JOINING = "joining"
    JOINED = "joined"
    ERRORED = "errored"
    LEAVING = "leaving"
    CLOSED = "closed"


# ---------------------------------------------------------------- what comes out


@dataclass(frozen=True, slots=True)
class Joined:
    """The channel is joined; `again` after a crash, a timeout or a lost socket."""

    response: object = field(repr=False)
    again: bool


@dataclass(frozen=True, slots=True)
class Received:
    """The platform pushed or broadcast something to the channel."""

    event: str
    payload: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Errored:
    """The channel is not joined for now; it rejoins by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel has ended and will not be joined again. Nothing follows."""

    reason: str


ChannelEvent: TypeAlias = Joined | Received | Errored | Closed


@dataclass(frozen=True, slots=True)
class Reply:
    """What the platform answered to a push. `status` is ``ok``, ``error`` or whatever the platform says."""

    status: str
    response: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome of a command, by the ticket that the command returned."""

    ticket: int
    outcome: Reply | SignallingError


@dataclass(frozen=True, slots=True)
class Happened:
    """Something happened to one channel."""

    subscription: Subscription
    event: ChannelEvent


@dataclass(frozen=True, slots=True)
class HeartbeatMissed:
    """The far end is silent: hang up and connect anew."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something odd that harms nothing, worth a line in the log. Holds no payload."""

    text: str


Output: TypeAlias = Settled | Happened | HeartbeatMissed | Noticed


# ---------------------------------------------------------------- what is remembered


@dataclass(slots=True)
class Push:
    """A push that waits for its channel (no ref yet) or for its reply; also joins, leaves and heartbeats."""

    event: str
    payload: object
    ticket: int | None
    since: float
    deadline: float
    subscription: Subscription | None = None


@dataclass(slots=True, eq=False)
class Subscription:
    """One channel of a `Connection`, which alone changes it.

    Attributes:
        topic: The topic to join.
        params: Evaluated at every join and rejoin.
        state: Where it is in its life.
        join_ref: Of the join that is in flight or in force; None between joins.
    """

    topic: str
    params: Callable[[], Mapping[str, object]]
    state: State = State.NEW
    join_ref: str | None = None
    joined_before: bool = False
    waiting: Push | None = None  # who awaits the first join
    attempt_until: float = inf
    rejoin_at: float = inf
    tries: int = 0
    refusals: int = 0
    buffer: list[Push] = field(default_factory=list)
    leave_until: float = inf
    leavers: list[int] = field(default_factory=list)


def reason_of(payload: object, default: str) -> str:
    """Read the reason of an error, a close or a refusal: at most 200 printable characters."""
    reason = payload.get("reason", payload) if isinstance(payload, Mapping) else payload
    if reason in (None, "", {}, []):
        return default
    if not isinstance(reason, str):
        try:
            reason = json.dumps(reason, default=str)
        except (ValueError, RecursionError):
            return default
    return "".join(c if c.isprintable() else "?" for c in reason[:200])


def may_try_again(subscription: Subscription, reason: str) -> bool:
    """Whether a join that was refused is to be tried again: a few times, unless the reason is known."""
    if reason in TRANSIENT_REASONS:
        return True
    limit = MAX_REJOIN_REFUSALS if subscription.joined_before else MAX_JOIN_REFUSALS
    return reason.lower().replace("_", " ") not in FINAL_REASONS and subscription.refusals <= limit
