"""The media side of a session: one Peer after another, into one pipeline, on one timeline.

It is what the dialler (`voki_bots.bots.dial`) works for, and it tells the roster what the tracks show.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from voki_bots.bots.account import Account
from voki_bots.bots.dial import LADDER, Dialler, Rung
from voki_bots.bots.gate import Closing, Gate, Refusal
from voki_bots.bots.roster import Roster
from voki_bots.calls import (
    Attribution,
    CallEvent,
    DigitPressed,
    GapCause,
    MediaConnected,
    MediaLost,
    PacketsDropped,
    Participant,
    Track,
    TrackAttributed,
    TrackEnded,
    TrackMeasured,
    TrackStarted,
)
from voki_bots.errors import SupervisionError
from voki_bots.media.live import Live
from voki_bots.media.peer import Peer
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Mixer, Prompt
from voki_bots.media.quality import mos
from voki_bots.media.receive import Received, SenderReport, TrackStatistics
from voki_bots.media.rtp import DIGITS
from voki_bots.signalling import payloads

STALLED = 2.0
"""Seconds without any packet, from anybody, after which a connection that carried media is given up while
others are present. The successor is to be there within three: the dialler looks at the very moment, gives the
dead connection `dial.CLOSE_WAIT` to close and the far end `dial.REDIAL_WAIT` to offer, which leaves more than
half a second to negotiate. Even discontinuous transmission sends something every 0.4 s."""

PATIENCE = 2.25
"""Seconds without any sign of life after which a connection that carries no media is given up."""

DEAF = 6.0
"""Seconds in which nothing was ever heard of those who were announced, after which we offer otherwise."""

SHORT_OF_LINES = 5.0
"""Seconds after a join in which the SFU may make room for the newcomer by itself (question Q17)."""


FLOWING = 15.0
"""Seconds that somebody who wants to speak waits for a connection on which it can be heard."""


SYNC = 10.0
"""Seconds between two sender reports of one track that are kept."""

_PASSING = (Closing.NOT_CONNECTED, Closing.RECONNECT, Closing.NOT_CONFIRMED)


MIXED = 2.5
"""Seconds after asking for more lines in vain, after which a single line is not taken for one's own."""


class Room(Protocol):
    """What a leg needs of its session."""

    bot: str
    gate: Gate
    roster: Roster
    speaks: bool
    video: bool

    def publish(self, event: CallEvent) -> None:
        """Record an event and tell everybody."""

    def record(self, event: object, /, **facts: Any) -> None:
        """Append to the journal."""

    def met(self, participant: Participant) -> None:
        """Somebody is present; told once."""

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel; buffered while it is away."""

    def measured(self, event: TrackMeasured) -> None:
        """Tell how a track came."""

    def fell_back(self, what: str) -> None:
        """A connection does not get the `receive_path` or the `send_path` that it should have."""

    async def rejoin(self) -> None:
        """Leave the call's topic and join it anew."""

    def sent(self, packet: Received) -> None:
        """A packet of our own went out."""


class Leg:
    """Our leg of a call's media.

    Args:
        room: The session.
        account: Gives ICE servers, and says whether the platform is on this machine.
        zero: The event loop's time at call time 0.
        segment: The number of the first segment.
        clock: Seconds of the event loop.
    """

    def __init__(
        self, room: Room, account: Account, *, zero: float, segment: int, clock: Callable[[], float]
    ) -> None:
        self._room = room
        self._account = account
        self._zero = zero
        self._clock = clock
        self._log = structlog.get_logger(__name__).bind(tenant=account.tenant)
        self._others: dict[str, Participant] = {}
        self._newest: dict[tuple[int, str, int], Received] = {}
        self._tracks: dict[tuple[int, str, int], Track] = {}
        self._tokens: dict[tuple[int, str], tuple[str, ...]] = {}
        self._sending: set[tuple[int, str]] = set()
        self._relay = self._relay_that_worked = 0
        self.up = False
        self._up_since = zero
        self._counts: dict[tuple[int, str, int], tuple[int, int]] = {}
        self._counted: tuple[int, float] | None = None
        self._speakers = 0
        self._mixer = Mixer(clock, self._refused) if room.speaks else None
        self.pipeline = Pipeline(clock=clock, zero=zero, report=self._said, ask=self._ask)
        self._peer: Peer | None = None
        self._synced: dict[Track, float] = {}
        self.dialler = Dialler(self, clock=clock, segment=segment)

    async def make_peer(self, segment: int, *, attempt: int = 0, rung: Rung = LADDER[0]) -> Peer:
        """A new Peer for a segment; silent bots only receive, as long as the SFU lets them.

        Each attempt takes the next TURN server; the first takes the one that worked, unless that died.
        """
        self._relay = self._relay_that_worked + attempt
        self._peer = Peer(
            segment,
            ice_servers=tuple(await self._account.ice_servers(self._relay)),
            sending=rung.sending,
            loopback=self._account.credentials.loopback,
            relay_only=self._account.credentials.relay_only,
            video=self._room.video,
            voice=self._mixer,
            on_packet=lambda received: self._packet(segment, received),
            on_sent=lambda sent: self._sent(segment, sent),
            on_report=(lambda report: self._reported(segment, report)) if self._room.video else None,
            on_fallback=self._room.fell_back,
            clock=self._clock,
            path=self._account.credentials.receive_path,
            patience=PATIENCE,
        )
        return self._peer

    @property
    def certificate(self) -> str | None:
        """What key the far end's certificate has; None before media are up."""
        return self._peer.certificate if self._peer is not None and self.up else None

    async def say(self, prompt: Prompt | Live) -> float:
        """Speak to everybody; resolves when the last sample was sent.

        The platform is told that we are not muted before the first word, and muted after the last (Q20).

        Raises:
            SupervisionError: If the gate is closed, or closes meanwhile, or nothing is sent within `FLOWING`.
        """
        if self._mixer is None:
            raise Refusal(Closing.NOT_CONFIGURED).error("say")
        self._room.gate.arm()
        await asyncio.to_thread(prompt.prepare)
        deadline = self._clock() + FLOWING
        while (refusal := self._room.gate.refusal()) is not None:
            if refusal.why not in _PASSING or self._clock() > deadline:
                raise refusal.error("say")
            await asyncio.sleep(0.05)
            if refusal.why is Closing.RECONNECT:
                self._room.gate.arm()
        self._speakers += 1
        if self._speakers == 1:
            self.send("mute", payloads.mute("audio", muted=False))
        try:
            return await self._mixer.say(prompt, begin_within=FLOWING)
        except TimeoutError:
            raise SupervisionError(
                "cannot speak (say): the far end takes no audio from us", mode="say", why="no_sender"
            ) from None
        finally:
            self._speakers -= 1
            if not self._speakers:
                self.send("mute", payloads.mute("audio", muted=True))

    def overheard(self, who: Participant) -> Callable[[Received], None]:
        """Give what takes the packets of somebody who says in this call what we do not receive."""
        line = f"whisper{len(self._others)}"
        self._others[line] = who
        return lambda sent: self.pipeline.push_local(self.dialler.segment, sent._replace(mid=line))

    def _sent(self, segment: int, packet: Received) -> None:
        self.pipeline.push_local(segment, packet)
        self._room.sent(packet)

    def _refused(self) -> SupervisionError | None:
        refusal = self._room.gate.refusal()
        return refusal.error("say") if refusal else None

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel."""
        self._room.send(event, payload)

    def described(self, segment: int, peer: Peer) -> None:
        """A remote description was applied: read every m-line anew, ours too."""
        named = {
            (segment, line.mid): tuple(t for t in (*line.msid, line.label) if t and t != "-")
            for line in peer.lines
        }
        sending = {
            (segment, line.mid)
            for line in peer.lines
            if line.direction in ("sendrecv", "sendonly") and not line.rejected
        }
        renamed = {key for key in sending if self._tokens.get(key, ()) not in ((), named[key])}
        for key in (self._sending - sending) | renamed:
            # Whoever was on it is gone, though the SFU may use the line, and its source, for somebody else.
            self.pipeline.hand_on(*key)
        for key in sending:
            if named[key] != self._tokens.get(key, ()):
                self.attributed(self._room.roster.relabelled(*key, named[key]))
            self._tokens[key] = named[key]
        self._sending = sending
        self._room.gate.close(Closing.RENEGOTIATION)

    def connected(self, segment: int, peer: Peer) -> None:
        """ICE and DTLS are up; say that we are muted, once a segment (Q20)."""
        self.up = True
        self._relay_that_worked = self._relay
        self._up_since = self._clock()
        self._room.gate.connected()
        self._room.publish(MediaConnected(segment, str(peer.path)))
        for kind in ("audio", "video"):
            self.send("mute", payloads.mute(kind, muted=kind == "video" or not self._speakers))

    def stalled(self, segment: int, peer: Peer) -> str | None:
        """No packet from anybody, though somebody is present and media did flow in this segment.

        Everybody may have muted their microphones without a trace, so a silence is taken for a fault once.
        """
        silent = self.pipeline.silent_for(segment)
        if silent is not None and silent >= STALLED and self._room.roster.present:
            return f"no media for {silent:.1f} s"
        return None

    def patience(self, segment: int) -> float:
        """For how many seconds more a silence of now is no fault."""
        silent = self.pipeline.silent_for(segment)
        return math.inf if silent is None else max(0.0, STALLED - silent)

    def deaf(self, segment: int, peer: Peer) -> str | None:
        """Nothing was ever heard in this segment of those whom the platform announced."""
        waited = self._clock() - max(self._up_since, self._zero + self._room.roster.last_joined)
        if self.pipeline.silent_for(segment) is None and self._room.roster.announced and waited > DEAF:
            return "nobody is heard, though others are present"
        return None

    def lines_missing(self, segment: int, peer: Peer) -> int:
        """Compare the lines on which the SFU sends with those present, once for each who joined."""
        roster = self._room.roster
        since = max(self._up_since, self._zero + roster.last_joined)
        if self._clock() - since < SHORT_OF_LINES or self._counted == (segment, roster.last_joined):
            return 0
        self._counted = (segment, roster.last_joined)
        return max(0, len(roster.announced) - self._carrying(peer))

    def yielded(self, segment: int) -> None:
        """Count the lines again: the SFU's own offer crossed ours, and may have brought what was missing."""
        self._counted = None

    def measured(self, segment: int, found: Sequence[TrackStatistics], rtt: float | None) -> None:
        """Tell how each track came since the last time."""
        alive = set(self.pipeline.tracks)
        for one in found:
            key = (segment, one.mid, one.ssrc)
            packets, lost = self._counts.get(key, (0, 0))
            self._counts[key] = (one.packets, one.lost)
            came, missing = one.packets - packets, max(0, one.lost - lost)
            track = self._tracks.get(key)
            if track is None or track not in alive or came + missing <= 0:
                continue
            loss = missing / (came + missing)
            score = mos(rtt=rtt or 0.0, loss=loss, jitter=one.jitter)
            at = self._clock() - self._zero
            self._room.measured(TrackMeasured(track, at, came, loss, one.jitter, rtt, round(score, 2)))

    @staticmethod
    def _carrying(peer: Peer) -> int:
        """How many lines the SFU says that it sends audio on."""
        lines = [line for line in peer.lines if line.kind == "audio" and not line.rejected]
        return sum(line.direction in ("sendrecv", "sendonly") for line in lines)

    def suspect(self, segment: int, peer: Peer) -> None:
        """One line for several who are present, and no more to be had: it may well carry them all."""
        roster = self._room.roster
        asked = self._counted == (segment, roster.last_joined)
        waited = self._clock() - max(self._up_since, self._zero + roster.last_joined)
        several = len(roster.announced) > 1 and self._carrying(peer) == 1
        mixed = several and asked and waited > SHORT_OF_LINES + MIXED
        self.attributed(roster.suspect_mixture(segment, mixed=mixed))

    async def rejoin(self) -> None:
        """Leave the call's topic and join it anew."""
        await self._room.rejoin()

    def lost(self, segment: int, cause: str, *, dead: Peer | None) -> None:
        """A segment is over; the recording goes on with the next one, over another relay if one died."""
        self.up = False
        if dead is not None and dead.relayed:
            self._relay_that_worked += 1
        self._room.gate.close(Closing.RECONNECT)
        if self._mixer is not None:
            self._mixer.fail(Refusal(Closing.RECONNECT).error("say"))
        self._remember_clocks()
        self.pipeline.end_segment(segment, GapCause.REDIAL, heard=dead.heard if dead else None)
        self._room.publish(MediaLost(segment, cause))
        self._log.warning("media_lost", segment=segment, cause=cause)

    def _packet(self, segment: int, received: Received) -> None:
        if received.kind != DIGITS:  # its timestamp is when the key was pressed, not the source's clock now
            self._newest[segment, received.mid, received.ssrc] = received
        self.pipeline.push(segment, received)

    def _reported(self, segment: int, report: SenderReport) -> None:
        """Keep what a sender's clock showed at what call time: pictures and voices are put together by it."""
        if (found := self.pipeline.reported(segment, report)) is None:
            return
        track, position = found
        if report.arrival - self._synced.get(track, -math.inf) >= SYNC:
            self._synced[track] = report.arrival
            self._room.record("sender_clock", track=str(track), ntp=report.ntp, position=position)

    def _ask(self, track: Track) -> None:
        if self._peer is not None and self._peer.segment == track.segment:
            self._peer.ask_for_key_frame(track.ssrc)

    def _said(self, event: CallEvent) -> None:
        if isinstance(event, DigitPressed):
            event = replace(event, by=self._room.roster.who(event.track))
        self._room.publish(event)
        if isinstance(event, PacketsDropped):
            self._log.error("packets_dropped", by=event.plugin, track=str(event.track), count=event.count)
        if isinstance(event, TrackStarted) and event.track.local:
            other = self._others.get(event.track.mid)
            said = self._room.roster.spoke(event.track, self._room.bot, other)
            self._room.publish(TrackAttributed(event.track, said))
            self.pipeline.reselect()
        elif isinstance(event, TrackStarted):
            track = event.track
            key = (track.segment, track.mid, track.ssrc)
            self._tracks[key] = track
            first = self._newest.get(key)  # the packet that is being pushed just now
            clock = first.timestamp % 2**32 if first else None
            tokens = self._tokens.get((track.segment, track.mid), ())
            self.attributed(self._room.roster.started(track, event.at, clock, tokens))
        elif isinstance(event, TrackEnded):
            self._room.roster.ended(event.track, event.at)

    def attributed(self, changed: Mapping[Track, Attribution]) -> None:
        """Tell everybody whose tracks these are, and whoever is heard for the first time by that."""
        for track, attribution in changed.items():
            self._room.publish(TrackAttributed(track, attribution))
            if attribution.participant is not None:
                self._room.met(attribution.participant)
        if changed:
            self.pipeline.reselect()

    def clocks(self) -> Iterator[tuple[Track, int, float]]:
        """Give for each voice an RTP timestamp and the call time at which it came: its sender's clock."""
        for key, received in self._newest.items():
            if (track := self._tracks.get(key)) is not None and track.kind == "audio":
                yield track, received.timestamp % 2**32, received.arrival - self._zero

    def _remember_clocks(self) -> None:
        for key, received in self._newest.items():
            at = received.arrival - self._zero
            if (track := self._tracks.get(key)) is not None:
                self._room.roster.heard(track, received.timestamp % 2**32, at)
        self._newest.clear()
