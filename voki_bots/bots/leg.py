"""The media side of a session: one Peer after another, into one pipeline, on one timeline.

It is what the dialler (`voki_bots.bots.dial`) works for, and it tells the roster what the tracks show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from voki_bots.bots.account import Account
from voki_bots.bots.dial import Dialler
from voki_bots.bots.gate import Closing, Gate
from voki_bots.bots.roster import Roster
from voki_bots.calls import (
    Attribution,
    CallEvent,
    GapCause,
    MediaConnected,
    MediaLost,
    Participant,
    Track,
    TrackAttributed,
    TrackEnded,
    TrackStarted,
)
from voki_bots.media.peer import Peer
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.receive import Received
from voki_bots.signalling import payloads

STALLED = 5.0
"""Seconds without any packet, from anybody, after which a connection that carried media is given up while
others are present. A connection that is dead altogether is noticed sooner, by the Peer itself."""


class Room(Protocol):
    """What a leg needs of its session."""

    gate: Gate
    roster: Roster

    def publish(self, event: CallEvent) -> None:
        """Record an event and tell everybody."""

    def met(self, participant: Participant) -> None:
        """Somebody is present; told once."""

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel; buffered while it is away."""


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
        self._first: dict[tuple[int, str, int], Received] = {}
        self._newest: dict[tuple[int, str, int], Received] = {}
        self._tokens: dict[tuple[int, str], tuple[str, ...]] = {}
        self._relay = self._relay_that_worked = 0
        self.up = False
        self.pipeline = Pipeline(clock=clock, zero=zero, report=self._said)
        self.dialler = Dialler(self, clock=clock, segment=segment)

    async def make_peer(self, segment: int, attempt: int) -> Peer:
        """A new Peer for a segment; silent bots only receive. Each attempt takes the next TURN server."""
        self._relay = self._relay_that_worked + attempt
        return Peer(
            segment,
            ice_servers=tuple(await self._account.ice_servers(self._relay)),
            loopback=self._account.credentials.loopback,
            relay_only=self._account.credentials.relay_only,
            on_packet=lambda received: self._packet(segment, received),
            clock=self._clock,
            path=self._account.credentials.receive_path,
        )

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel."""
        self._room.send(event, payload)

    def described(self, segment: int, peer: Peer) -> None:
        """A remote description was applied: read every m-line anew, ours too."""
        for line in peer.lines:
            tokens = tuple(t for t in (*line.msid, line.label) if t and t != "-")
            if self._tokens.get((segment, line.mid), tokens) != tokens:
                self.attributed(self._room.roster.relabelled(segment, line.mid, tokens))
            self._tokens[segment, line.mid] = tokens
        self._room.gate.close(Closing.RENEGOTIATION)

    def connected(self, segment: int, peer: Peer) -> None:
        """ICE and DTLS are up; say that we are muted, once a segment (Q20)."""
        self.up = True
        self._relay_that_worked = self._relay
        self._room.gate.connected()
        self._room.publish(MediaConnected(segment, str(peer.path)))
        for kind in ("audio", "video"):
            self.send("mute", payloads.mute(kind, muted=True))

    def stalled(self, segment: int, peer: Peer) -> str | None:
        """No packet from anybody, though somebody is present and media did flow in this segment."""
        silent = self.pipeline.silent_for(segment)
        if silent is not None and silent > STALLED and self._room.roster.present:
            return f"no media for {silent:.1f} s"
        return None

    def lost(self, segment: int, cause: str) -> None:
        """A segment is over; the recording goes on with the next one."""
        self.up = False
        self._room.gate.close(Closing.RECONNECT)
        self._remember_clocks()
        self.pipeline.end_segment(segment, GapCause.REDIAL)
        self._room.publish(MediaLost(segment, cause))
        self._log.warning("media_lost", segment=segment, cause=cause)

    def _packet(self, segment: int, received: Received) -> None:
        key = (segment, received.mid, received.ssrc)
        if key not in self._first:
            self._first[key] = received
        self._newest[key] = received
        self.pipeline.push(segment, received)

    def _said(self, event: CallEvent) -> None:
        self._room.publish(event)
        if isinstance(event, TrackStarted):
            track = event.track
            first = self._first.get((track.segment, track.mid, track.ssrc))
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

    def _remember_clocks(self) -> None:
        for (segment, mid, ssrc), received in self._newest.items():
            at = received.arrival - self._zero
            self._room.roster.heard(Track(segment, mid, ssrc, received.kind), received.timestamp % 2**32, at)
        self._newest.clear()
