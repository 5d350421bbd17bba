"""Calls, participants, tracks, and everything that can happen to them. Pure values.

Events are frozen dataclasses named in the past tense. `CallEvent` is the closed union of what the core
says about one call (consume it with ``match`` and ``assert_never``); `ServiceEvent` is what it says about
departments and users; `PluginEvent` is the open base class of what plugins say.

Times inside events are seconds of call time: 0 is the moment the session joined the call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeAlias

MAX_ID_LENGTH = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

HELD_STATUSES = frozenset({"on_hold", "hold", "held"})
"""Statuses of a call that is held. Voki documents none of them; where one comes, it is believed."""

TERMINAL_STATUSES = frozenset({"completed", "missed", "cancelled"})
"""Statuses of a call after which nothing happens any more (Voki's calls page)."""


def problem_with_id(value: object) -> str | None:
    """Say what is wrong with an id from the network or the command line.

    Ids are opaque: neither UUIDs nor safe as paths. What no id may be is empty, long or unprintable.

    Returns:
        A phrase that ends the sentence "this id …", or None if the id is usable.
    """
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not a string"
    if not value.strip():
        return "is empty"
    if len(value) > MAX_ID_LENGTH:
        return f"is {len(value)} characters long; at most {MAX_ID_LENGTH} are allowed"
    if found := _CONTROL.search(value):
        return f"contains the control character {found.group()!a}"
    return None


class Role(StrEnum):
    """What a participant is in a call. We never guess one: what is not known is `UNKNOWN`."""

    ATTENDANT = "attendant"
    CUSTOMER = "customer"
    SUPERVISOR = "supervisor"
    BOT = "bot"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, value: object) -> Role:
        """Read a role as the platform writes it; anything unlisted is `UNKNOWN`."""
        text = value.strip().lower() if isinstance(value, str) else ""
        if text == "manager":  # Voki's managers and owners supervise; they have no queue of their own
            return cls.SUPERVISOR
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN


class Supervision(StrEnum):
    """How a supervisor takes part in a call."""

    MONITOR = "monitor"
    WHISPER = "whisper"
    BARGE = "barge"


class GapCause(StrEnum):
    """Why a span of call time holds no audio of a track."""

    LOST = "lost"
    MUTED = "muted"
    DTX = "dtx"
    HELD = "held"
    MASKED = "masked"
    NO_CONSENT = "no_consent"
    REDIAL = "redial"
    LATE_JOIN = "late_join"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Call:
    """One conversation in Voki, named by (tenant, call_id). A value; it holds no connection."""

    tenant: str
    call_id: str
    department_id: str | None = None
    department: str | None = None
    attendant_id: str | None = None
    attendant_name: str | None = None
    customer_name: str | None = None
    status: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes the call unique: ids may repeat across tenants."""
        return (self.tenant, self.call_id)

    @property
    def topic(self) -> str:
        """The Phoenix topic of the call."""
        return f"call:{self.call_id}"

    @property
    def over(self) -> bool:
        """Whether the platform says that the call has ended."""
        return self.status in TERMINAL_STATUSES

    def merged(self, newer: Call) -> Call:
        """Take from `newer` every field it knows; both must be the same call."""
        known = {f.name: v for f in fields(newer) if (v := getattr(newer, f.name)) is not None}
        return replace(self, **known)

    def __str__(self) -> str:
        return f"{self.tenant}/{self.call_id}"


@dataclass(frozen=True, slots=True)
class Participant:
    """Someone in a call; the bot is one too.

    Attributes:
        id: The platform's user id, or a key made from role and name where it gives none (Q26).
        name: As shown to the others; may be empty.
        role: What the platform says, or `Role.UNKNOWN`.
        present: False for one known from the call's details of whom no sign was seen yet.
    """

    id: str
    name: str = ""
    role: Role = Role.UNKNOWN
    present: bool = True


@dataclass(frozen=True, slots=True)
class Track:
    """One medium in one direction, named by (segment, mid, ssrc), and by `use` where that is not enough.

    Who is on it is an attribute with a confidence: see `Attribution`.

    Attributes:
        segment: Which life of the Peer it belongs to; 0 is the first.
        mid: The media identification of its m-line (RFC 8843).
        ssrc: The synchronisation source (RFC 3550 section 3).
        kind: ``audio`` or ``video``.
        local: True for what the bot itself sends.
        use: Which use of the line this is, if an SFU gives a line with its source to one after another.
    """

    segment: int
    mid: str
    ssrc: int
    kind: str = "audio"
    local: bool = False
    use: int = 0

    @classmethod
    def parse(cls, text: str) -> Track:
        """Read what `str` makes of a remote track of audio; ValueError if it is nothing of the kind."""
        segment, mid, ssrc, *use = text.split(":")
        if len(use) > 1:
            raise ValueError(f"expected a track, got {text!r}")
        return cls(int(segment), mid, int(ssrc), use=int(use[0]) if use else 0)

    def __str__(self) -> str:
        name = f"{self.segment}:{self.mid}:{self.ssrc}"
        return f"{name}:{self.use}" if self.use else name


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who is on a track, how sure we are, and why.

    Attributes:
        participant: None while unknown.
        confidence: 0.0 (unknown) to 1.0 (the platform said so).
        why: ``msid``, ``clock``, ``activation``, ``elimination``, ``stream`` (of a picture), ``local``,
            ``mixed`` (one line may carry everybody) or ``unknown``.
    """

    participant: Participant | None = None
    confidence: float = 0.0
    why: str = "unknown"

    @property
    def role(self) -> Role:
        """The participant's role, `Role.UNKNOWN` without one."""
        return self.participant.role if self.participant else Role.UNKNOWN


# ---------------------------------------------------------------- what the platform says of a call


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    """Someone entered the call (or was found in it when the bot came)."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    """Someone left the call."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The platform ended the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class SupervisionStarted:
    """A supervisor began to monitor, whisper or barge."""

    mode: Supervision
    supervisor_id: str
    supervisor_name: str = ""


@dataclass(frozen=True, slots=True)
class SupervisionStopped:
    """A supervisor stopped. Voki does not document this; it is accepted where it comes."""

    mode: Supervision
    supervisor_id: str = ""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The SFU offers a session description (RFC 8829)."""

    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """The SFU answers our offer."""

    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CandidateReceived:
    """The SFU names one of its ICE candidates; an empty string ends them (RFC 8838)."""

    candidate: str
    mid: str | None = None
    line: int | None = None


# ---------------------------------------------------------------- what the session says of a call


@dataclass(frozen=True, slots=True)
class CallJoined:
    """The bot is in the call; call time begins. `user_id` is the bot's own."""

    call: Call
    user_id: str


@dataclass(frozen=True, slots=True)
class CallLeft:
    """The bot has left the call, and will not come back to it by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignallingLost:
    """The channel or its socket is away. Media and files go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignallingRestored:
    """The channel is joined again."""


@dataclass(frozen=True, slots=True)
class MediaConnected:
    """ICE and DTLS are up in this segment; `path` says how packets are taken: tick, hook or receiver."""

    segment: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class MediaLost:
    """This segment's Peer is of no use any more; a new segment follows."""

    segment: int
    cause: str


@dataclass(frozen=True, slots=True)
class TrackStarted:
    """The first packet of a track arrived."""

    track: Track
    at: float


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """No more packets of this track will come. `audio` is the seconds of media it carried."""

    track: Track
    at: float
    audio: float


@dataclass(frozen=True, slots=True)
class TrackAttributed:
    """It became known, or changed, who is on a track; it holds for the track from its beginning."""

    track: Track
    attribution: Attribution


@dataclass(frozen=True, slots=True)
class GapFound:
    """A span of call time holds no audio of a track. `end` is exclusive.

    Where a plugin did not keep up, and its tap dropped audio (`PacketsDropped`), the cause is `STALLED`, and
    the audio is missing to that plugin alone.

    Attributes:
        track: Which one.
        start: Seconds of call time.
        end: Seconds of call time, exclusive.
        cause: Why.
        plugin: To whom it is missing; empty: to everybody.
    """

    track: Track
    start: float
    end: float
    cause: GapCause
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class PacketsDropped:
    """A plugin did not keep up, and its tap dropped its oldest items."""

    plugin: str
    track: Track
    count: int


@dataclass(frozen=True, slots=True)
class TrackMeasured:
    """How a track came in the last five seconds. It is in no journal.

    Attributes:
        track: Which one.
        at: Seconds of call time.
        packets: Received.
        loss: Share of those expected that never came, 0 to 1.
        jitter: Seconds (RFC 3550 section 6.4.1).
        rtt: Seconds to the far end and back, or None while unknown.
        mos: Mean opinion score by the E-model, 1.0 to 4.5.
    """

    track: Track
    at: float
    packets: int
    loss: float
    jitter: float
    rtt: float | None
    mos: float


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """Somebody pressed a key of their telephone (RFC 4733); told when it is released.

    Keys may spell a secret number, so plugins alone are told which one it was: neither the journal nor a log
    holds it. Nothing is told of what is pressed during a pause.

    Attributes:
        track: On which it came.
        digit: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``.
        at: When it was pressed, in seconds of call time.
        duration: Seconds that it was held.
        by: Who is on the track.
    """

    track: Track
    digit: str = field(repr=False)
    at: float
    duration: float
    by: Attribution = Attribution()


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """No file, transcript or listener receives anything from now on.

    Attributes:
        actor: Who paused; each has one pause of their own.
        at: Seconds of call time.
        reason: Why, in their own words.
        until: Seconds of call time at which it ends by itself, or None.
    """

    actor: str
    at: float
    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """A pause ended. Files, transcripts and listeners receive media again, if `held_by` names nobody.

    Attributes:
        actor: Who resumed; ``timer`` if the pause's time was over.
        at: Seconds of call time.
        paused_by: Whose pause ended.
        held_by: Who has a pause that goes on.
    """

    actor: str
    at: float
    paused_by: str = ""
    held_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsentAnnounced:
    """It was said in the call that it is recorded.

    Attributes:
        prompt: What was played.
        start: Seconds of call time at which it began.
        end: At which it was over.
        to: The ids of those concerned who were there; empty if the platform named nobody.
        sha256: Of what was played: mono int16 samples, little-endian, at 48 kHz.
    """

    prompt: str
    start: float
    end: float
    to: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """Somebody agreed to be recorded.

    Attributes:
        by: A participant's id, or who says so for all that are there.
        how: How we know.
        of: The ids of those for whom it counts.
    """

    by: str
    how: str
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsentRefused:
    """A participant does not agree to be recorded; nothing is written until they do."""

    by: str
    how: str


@dataclass(frozen=True, slots=True)
class PluginDetached:
    """A plugin failed in this call and takes no further part in it."""

    plugin: str
    why: str


SignalEvent: TypeAlias = (
    ParticipantJoined
    | ParticipantLeft
    | CallEnded
    | SupervisionStarted
    | SupervisionStopped
    | OfferReceived
    | AnswerReceived
    | CandidateReceived
)
"""What the `call:` topic says."""

CallEvent: TypeAlias = (
    SignalEvent
    | CallJoined
    | CallLeft
    | SignallingLost
    | SignallingRestored
    | MediaConnected
    | MediaLost
    | TrackStarted
    | TrackEnded
    | TrackAttributed
    | GapFound
    | PacketsDropped
    | TrackMeasured
    | DigitPressed
    | RecordingPaused
    | RecordingResumed
    | ConsentAnnounced
    | ConsentGiven
    | ConsentRefused
    | PluginDetached
)
"""Every fact of the core about one call."""


# ---------------------------------------------------------------- departments and users


@dataclass(frozen=True, slots=True)
class CustomerQueued:
    """A customer entered a department's queue (`customer_joined`)."""

    department_id: str
    call_id: str
    customer_name: str = ""
    position: int | None = None
    queue_size: int | None = None


@dataclass(frozen=True, slots=True)
class CustomerDequeued:
    """A customer left a queue (`customer_left`): assigned, timeout or cancelled."""

    department_id: str
    call_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CallAssigned:
    """A call was assigned to an attendant, as the queue or a notification says.

    `department_id` is empty where a notification said so.
    """

    department_id: str
    call_id: str
    user_id: str = ""
    user_name: str = ""


@dataclass(frozen=True, slots=True)
class QueueUpdated:
    """The state of a department's queue. `avg_wait_time` is seconds."""

    department_id: str
    queue_size: int | None = None
    avg_wait_time: float | None = None
    online_agents: int | None = None


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """An agent's presence in a department: `change` is ``online``, ``changed`` or ``offline``."""

    department_id: str
    user_id: str
    change: str
    name: str = ""
    status: str = ""
    current_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationReceived:
    """A personal notification (`new_notification`). `kind` is Voki's ``type``."""

    user_id: str
    kind: str
    title: str = ""
    body: str = ""
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class AppointmentReminded:
    """An appointment is near (`appointment_reminder`). `scheduled_at` is ISO 8601 as it came."""

    user_id: str
    appointment_id: str
    title: str = ""
    scheduled_at: str = ""
    customer_name: str = ""
    minutes_until: int | None = None


QueueEvent: TypeAlias = CustomerQueued | CustomerDequeued | CallAssigned | QueueUpdated
ServiceEvent: TypeAlias = QueueEvent | PresenceChanged | NotificationReceived | AppointmentReminded
"""Every fact about departments and users; it belongs to no call of ours."""


# ---------------------------------------------------------------- what plugins say


@dataclass(frozen=True, slots=True)
class PluginEvent:
    """A fact that a plugin publishes. Subclass it; handlers name the type they want."""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    Attributes:
        text: As the recogniser writes it.
        start: Seconds of call time.
        end: Seconds of call time, exclusive.
        confidence: From 0.0 to 1.0; None where the recogniser gives none.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class UtteranceHeard(PluginEvent):
    """Someone said something. The same `id` may come again with a higher `rev`; `final` comes once.

    Attributes:
        id: One per utterance of the call.
        rev: Rises by one with each revision.
        final: True in the last revision. One without text takes back what was shown before.
        text: What was recognised; each revision replaces the last.
        role: Who said it.
        participant_id: None while unknown.
        start: Seconds of call time.
        end: Seconds of call time, exclusive.
        name: Of whoever said it; empty while unknown.
        language: In which it was recognised, such as ``pt``; empty if that is not known.
        words: With their times, in final revisions of recognisers that give them.
        track: On which it was heard.
        late: Whether recognition was behind when it was made.
    """

    id: str
    rev: int
    final: bool
    text: str
    role: Role
    participant_id: str | None
    start: float
    end: float
    name: str = ""
    language: str = ""
    words: tuple[Word, ...] = ()
    track: Track | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class HintGiven(PluginEvent):
    """A text for someone's screen; it never enters the call's channel."""

    text: str
    to: Role
    by: str


def as_json(event: object) -> dict[str, Any]:
    """Turn an event (or any dataclass of this module) into plain JSON, with its ``type`` first.

    Session descriptions are left out: they are long, and hold credentials of the transport. So are digits.
    """

    def plain(value: object) -> Any:
        if isinstance(value, StrEnum):
            return str(value)
        if isinstance(value, Track):
            return str(value)
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(v) for v in value]
        if hasattr(value, "__dataclass_fields__"):
            return {
                f.name: plain(getattr(value, f.name))
                for f in fields(value)  # type: ignore[arg-type]  # checked on the line above
                if f.name not in ("sdp", "digit")
            }
        return value

    body = plain(event)
    if not isinstance(body, dict):
        raise TypeError(f"expected a dataclass, got {type(event).__name__}")
    return {"type": type(event).__name__, **body}
