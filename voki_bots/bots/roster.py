"""Who is in the call, and which track is whose. Pure.

The platform never says which participant a track carries (platform question Q18), so the answer is derived
from evidence, in this order: the ids a session description carries; the RTP clock a track shares with one
of an earlier segment, of before a crash too; a track that starts right after somebody joined; and, where one
person and one track are left, elimination. A picture belongs to whose voice is in the same stream. What none
of these decides stays `unknown`: a role is never guessed. All of it is computed anew from the facts whenever
a fact is added, so a later fact can also take an attribution back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from voki_bots.calls import HELD_STATUSES, Attribution, Call, Participant, Role, Track
from voki_bots.units import SAMPLE_RATE

ACTIVATION_WINDOW = 5.0
"""Seconds after `participant_joined` within which a new track is taken for theirs."""

EARLY = 0.5
"""Seconds by which a track may start before the platform announces its participant."""

CLOCK_TOLERANCE = 1.0
"""Seconds by which a track's RTP clock may miss the prediction from an earlier segment. Publishers choose
random 32-bit offsets (RFC 3550 section 5.1), so a match by chance has odds of about 1 in 45,000."""

_RATES = {"video": 90_000}
"""RTP ticks per second where they are not those of Opus (RFC 7741 section 4.1, RFC 6184 section 8.2.1)."""

_MIN_TOKEN = 3  # shorter names would match inside random stream ids


@dataclass(slots=True)
class _Person:
    participant: Participant
    joined: float | None = None  # seconds of call time; None: known before we came
    left: float | None = None
    announced: bool = False  # the platform said so in this call, not only its details
    arrivals: list[float] = field(default_factory=list)  # of every stay, for some come back


@dataclass(slots=True)
class _Line:
    track: Track
    started: float
    clock: tuple[int, float] | None = None  # first RTP timestamp and its call time
    last: tuple[int, float] | None = None
    ended: float | None = None
    tokens: tuple[str, ...] = ()
    attribution: Attribution = field(default_factory=Attribution)
    remembered: tuple[_Person, float] | None = None  # who was on it before a crash, and the confidence


class Roster:
    """The participants of one call and their tracks.

    Args:
        call: As far as the platform's details tell it; its attendant and customer are expected.
        own_id: The bot's own user id, which is left out of everything.
    """

    def __init__(self, call: Call, own_id: str) -> None:
        self._own_id = own_id
        self._people: dict[str, _Person] = {}
        self._lines: dict[Track, _Line] = {}
        self._former: dict[str, str] = {}
        self._mixed: set[int] = set()
        self._own: dict[Track, Attribution] = {}
        self.seed(call)

    # ------------------------------------------------------------ people

    @property
    def participants(self) -> list[Participant]:
        """Everybody known who has not left, the bot left out; expected ones have ``present=False``."""
        return [p.participant for p in self._people.values() if p.left is None]

    @property
    def present(self) -> list[Participant]:
        """Everybody of whom there is a sign: announced, or heard on a track that is theirs."""
        return [p for p in self.participants if p.present]

    @property
    def announced(self) -> list[Participant]:
        """Everybody of whom the platform said in this call that they are here."""
        return [p.participant for p in self._people.values() if p.announced and p.left is None]

    @property
    def last_joined(self) -> float:
        """Call time of the last announcement of somebody who is still here; 0 without any."""
        joined = [p.joined for p in self._people.values() if p.joined is not None and p.left is None]
        return max(joined, default=0.0)

    @property
    def anybody_was_present(self) -> bool:
        """Whether anybody was ever seen to be present, though they may have left since."""
        return any(p.participant.present for p in self._people.values())

    def seed(self, call: Call) -> None:
        """Expect whom the call's details name (question Q26); nobody is removed."""
        if call.attendant_id and call.attendant_id != self._own_id:
            self._expect(call.attendant_id, call.attendant_name or "", Role.ATTENDANT, call)
        if call.customer_name and not any(p.role is Role.CUSTOMER for p in self.participants):
            key = f"{Role.CUSTOMER}:{call.customer_name}"
            self._expect(key, call.customer_name, Role.CUSTOMER, call)

    def _expect(self, key: str, name: str, role: Role, call: Call) -> None:
        # An active call has both sides in it, by Voki's own word; before that they are only expected.
        inside = call.status == "active" or call.status in HELD_STATUSES
        participant = Participant(key, name, role, present=inside)
        self._people.setdefault(key, _Person(participant))

    def joined(self, participant: Participant, now: float) -> Participant | None:
        """Take note that the platform announced somebody.

        Returns:
            The participant as known from now on, or None if it is the bot itself or somebody who was
            known to be present before.
        """
        if participant.id == self._own_id:
            return None
        known = self._people.get(participant.id)
        if known is None:
            known = self._adopt_expected(participant)
        if known is not None and known.announced and known.left is None:
            known.participant = self._combined(known.participant, participant)
            return None
        if known is None:
            known = self._people[participant.id] = _Person(participant)
        was_here = known.participant.present and known.left is None and participant is not known.participant
        known.participant = self._combined(known.participant, participant)
        known.joined, known.left, known.announced = now, None, True
        known.arrivals.append(now)
        return None if was_here else known.participant

    def former_id(self, participant_id: str) -> str | None:
        """The id under which somebody was expected before the platform told theirs, or None."""
        return self._former.get(participant_id)

    def _adopt_expected(self, newcomer: Participant) -> _Person | None:
        """An expected customer has no id; the first who comes by that name and role is them."""
        for key, person in list(self._people.items()):
            expected = person.participant
            same = expected.role is Role.CUSTOMER and expected.name == newcomer.name
            if same and not person.announced and newcomer.role in (Role.CUSTOMER, Role.UNKNOWN):
                del self._people[key]
                person.participant = replace(expected, id=newcomer.id)
                self._former[newcomer.id] = key
                self._people[newcomer.id] = person
                return person
        return None

    @staticmethod
    def _combined(old: Participant, new: Participant) -> Participant:
        role = new.role if new.role is not Role.UNKNOWN else old.role
        return replace(old, id=new.id, name=new.name or old.name, role=role, present=True)

    def left(self, participant_id: str, now: float) -> Participant | None:
        """Take note that somebody left; None if they are not known or left already."""
        person = self._people.get(participant_id)
        if person is None or person.left is not None:
            return None
        person.left = now
        return person.participant

    # ------------------------------------------------------------ tracks

    def started(
        self, track: Track, now: float, clock: int | None = None, tokens: Sequence[str] = ()
    ) -> dict[Track, Attribution]:
        """Take note of a new track.

        Args:
            track: The track whose first packet arrived.
            now: Seconds of call time.
            clock: The RTP timestamp of that packet.
            tokens: Ids that the session description gives for its m-line (msid, label, cname).

        Returns:
            Every attribution that changed.
        """
        line = _Line(track, now, tokens=tuple(tokens))
        if clock is not None:
            line.clock = line.last = (clock, now)
        self._lines[track] = line
        return self.attribute()

    def remember(
        self, track: Track, participant: Participant, confidence: float, timestamp: int, at: float
    ) -> None:
        """Take note of a track of before a crash, so that its sender is recognised by the clock.

        Args:
            track: The track, which is over.
            participant: Who was on it; expected again, and present only once there is a sign.
            confidence: How sure that was.
            timestamp: An RTP timestamp of the track.
            at: Seconds of call time at which it was heard.
        """
        person = self._people.get(participant.id) or self._adopt_expected(participant)
        if person is None:
            person = self._people[participant.id] = _Person(replace(participant, present=False))
        line = _Line(track, at, last=(timestamp, at), ended=at, remembered=(person, confidence))
        line.attribution = _remembered(line)
        self._lines[track] = line

    def spoke(self, track: Track, name: str, who: Participant | None = None) -> Attribution:
        """Take note of a track of our own; it tells nothing of the others'.

        Args:
            track: It.
            name: The bot's.
            who: Whose it is, if not the bot's: a supervisor's, who whispers from a session of his own.
        """
        itself = who or Participant(self._own_id, name, Role.BOT)
        return self._own.setdefault(track, Attribution(itself, 1.0, "local"))

    def heard(self, track: Track, timestamp: int, now: float) -> None:
        """Take note of a packet; kept to recognise the same sender after a re-dial."""
        if line := self._lines.get(track):
            line.last = (timestamp, now)

    def ended(self, track: Track, now: float) -> None:
        """Take note that no more packets of this track will come."""
        if line := self._lines.get(track):
            line.ended = now

    def relabelled(self, segment: int, mid: str, tokens: Sequence[str]) -> dict[Track, Attribution]:
        """A re-offer gave other ids to an m-line; its next track is somebody else's (Q21)."""
        for line in self._lines.values():
            if (line.track.segment, line.track.mid) == (segment, mid) and line.ended is None:
                line.tokens = tuple(tokens)
        return self.attribute()

    def suspect_mixture(self, segment: int, *, mixed: bool) -> dict[Track, Attribution]:
        """Take note that one line may carry everybody: then it is nobody's own, unless an id says so."""
        if mixed == (segment in self._mixed):
            return {}
        (self._mixed.add if mixed else self._mixed.discard)(segment)
        return self.attribute()

    def who(self, track: Track) -> Attribution:
        """Who is on a track, as far as it is known."""
        if track in self._own:
            return self._own[track]
        line = self._lines.get(track)
        return line.attribution if line else Attribution()

    def tracks_of(self, participant_id: str) -> list[Track]:
        """Every track attributed to somebody."""
        return [
            line.track
            for line in self._lines.values()
            if line.attribution.participant and line.attribution.participant.id == participant_id
        ]

    # ------------------------------------------------------------ attribution

    def attribute(self) -> dict[Track, Attribution]:
        """Derive all attributions from the facts; return those that changed."""
        before = {track: line.attribution for track, line in self._lines.items()}
        for line in self._lines.values():
            line.attribution = _remembered(line)
        # Segment by segment: what is known of one tells of the next, by the RTP clock.
        for segment in sorted({track.segment for track in self._lines}):
            self._apply(segment, self._by_token, self._by_clock)
            if segment in self._mixed:
                for line in self._nameless(segment, "audio"):
                    line.attribution = Attribution(why="mixed")
                continue
            self._by_activation(segment)
            self._apply(segment, self._by_elimination, kind="audio")
            # A camera may be turned on at any time, and one person may show two pictures.
            self._apply(segment, self._by_stream, kind="video")
        for line in self._lines.values():
            if line.remembered is None:
                self._show_presence(line.attribution)
        return {
            track: line.attribution
            for track, line in self._lines.items()
            if line.attribution != before[track]
            and line.remembered is None
            and (line.attribution.participant or before[track].participant)
        }

    def _apply(self, segment: int, *rules: Callable[[_Line], Attribution], kind: str | None = None) -> None:
        for rule in rules:
            for line in self._nameless(segment, kind):
                line.attribution = rule(line)

    def _show_presence(self, attribution: Attribution) -> None:
        if attribution.participant and (person := self._people.get(attribution.participant.id)):
            person.participant = replace(person.participant, present=True)

    def _by_token(self, line: _Line) -> Attribution:
        hits = [
            p.participant
            for p in self._people.values()
            if any(_names(p.participant, token) for token in line.tokens)
        ]
        return Attribution(hits[0], 1.0, "msid") if len(hits) == 1 else Attribution()

    def _by_clock(self, line: _Line) -> Attribution:
        if line.clock is None:
            return Attribution()
        hits = {
            other.attribution.participant
            for other in self._lines.values()
            if other.track.segment < line.track.segment
            and other.track.kind == line.track.kind
            and other.attribution.participant is not None
            and other.last is not None
            and _same_clock(other.last, line.clock, _RATES.get(line.track.kind, SAMPLE_RATE))
        }
        return Attribution(hits.pop(), 0.95, "clock") if len(hits) == 1 else Attribution()

    def _by_stream(self, line: _Line) -> Attribution:
        """What belongs to one stream belongs to one participant (RFC 8830): a picture to its voice."""
        hits = {
            other.attribution.participant
            for other in self._lines.values()
            if other.track.segment == line.track.segment
            and other.track.kind != line.track.kind
            and other.attribution.participant is not None
            and other.tokens[:1] == line.tokens[:1] != ()
        }
        return Attribution(hits.pop(), 0.9, "stream") if len(hits) == 1 else Attribution()

    def _by_activation(self, segment: int) -> None:
        """Match voices with those who joined just before, as far as only one matching is possible."""
        candidates: dict[Track, list[tuple[str, float]]] = {}
        for line in self._nameless(segment, "audio"):
            # Somebody who left and came back is two arrivals, and each may have a track.
            arrivals = [
                (p.participant.id, at)
                for p in self._free(line)
                if p.announced and (at := _just_before(p, line.started)) is not None
            ]
            candidates[line.track] = arrivals
        while sure := {track: found[0] for track, found in candidates.items() if len(found) == 1}:
            claimed = list(sure.values())
            for track, arrival in sure.items():
                if claimed.count(arrival) == 1:
                    person = self._people[arrival[0]].participant
                    self._lines[track].attribution = Attribution(person, 0.8, "activation")
                del candidates[track]
            for track, found in candidates.items():
                candidates[track] = [one for one in found if one not in claimed]

    def _by_elimination(self, line: _Line) -> Attribution:
        free = [p for p in self._free(line) if p.left is None]
        nameless = [other for other in self._peers(line) if other.attribution.participant is None]
        if len(free) != 1 or nameless:
            return Attribution()
        return Attribution(free[0].participant, 0.6, "elimination")

    def _nameless(self, segment: int, kind: str | None = None) -> list[_Line]:
        return [
            line
            for line in self._lines.values()
            if line.track.segment == segment
            and kind in (None, line.track.kind)
            and line.attribution.participant is None
        ]

    def _peers(self, line: _Line) -> Iterable[_Line]:
        """The other tracks of the same kind in the same segment that live at the same time."""
        return (
            other
            for other in self._lines.values()
            if other is not line
            and (other.track.segment, other.track.kind) == (line.track.segment, line.track.kind)
            and (other.ended is None or other.ended > line.started)
            and (line.ended is None or line.ended > other.started)
        )

    def _free(self, line: _Line) -> list[_Person]:
        """Whoever could be on this track: there when it started, and on no other track beside it."""
        taken = {o.attribution.participant.id for o in self._peers(line) if o.attribution.participant}
        return [
            p
            for p in self._people.values()
            if p.participant.id not in taken
            and p.participant.role is not Role.BOT
            and (p.left is None or p.left > line.started)
        ]


def _names(participant: Participant, token: str) -> bool:
    """Whether an id from a session description names this participant."""
    given, wanted = token.casefold(), participant.id.casefold()
    if participant.name and given == participant.name.casefold():
        return True
    return len(wanted) >= _MIN_TOKEN and wanted in given


def _same_clock(last: tuple[int, float], first: tuple[int, float], rate: int) -> bool:
    """Whether two (RTP timestamp, call time) pairs lie on one clock of this rate, modulo 2**32."""
    expected = last[0] + round((first[1] - last[1]) * rate)
    delta = (first[0] - expected + 2**31) % 2**32 - 2**31
    return abs(delta) <= CLOCK_TOLERANCE * rate


def _remembered(line: _Line) -> Attribution:
    """What is known of a track of before a crash; nothing of any other."""
    if line.remembered is None:
        return Attribution()
    person, confidence = line.remembered
    return Attribution(person.participant, confidence, "clock")


def _just_before(person: _Person, at: float) -> float | None:
    """The last time that somebody arrived so short before, or None."""
    return max((one for one in person.arrivals if -EARLY <= at - one <= ACTIVATION_WINDOW), default=None)
