"""What happens to the media of one call: order, place, and fan out. Plain calls; no scheduler.

    packet → reorder → timeline → the taps of whoever wants this track

A pause or missing consent closes it in the timeline, before any tap. Whatever is found on the way is
reported as a `CallEvent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from voki_bots.calls import (
    CallEvent,
    DigitPressed,
    GapCause,
    GapFound,
    PacketsDropped,
    Track,
    TrackEnded,
    TrackStarted,
)
from voki_bots.media.decode import Cut, Decoding
from voki_bots.media.digits import Press
from voki_bots.media.flow import Flow, Subscription
from voki_bots.media.frames import Filter, Packet, VideoPacket
from voki_bots.media.opus import packet_ticks
from voki_bots.media.reorder import Ordered
from voki_bots.media.rtp import (
    DIGITS,
    TIMESTAMP_BITS,
    Received,
    ReceivedVideo,
    SenderReport,
    distance,
)
from voki_bots.media.tap import Tap
from voki_bots.media.timeline import DTX_SECONDS, Gap, Placed, Timeline
from voki_bots.units import SAMPLE_RATE, SILENCE_DBFS

SUPERSEDED_SECONDS = 2.0
"""A source that is silent for so long after another one began on its line is over."""

REDIAL_SECONDS = 3.0
"""What was silent for longer than this when the far end was last heard of was silent of itself."""


class Pipeline:
    """The media of one call.

    Args:
        clock: Seconds of the event loop, as it stamps arrivals.
        zero: What that clock showed when call time began.
        report: Takes every fact.
        ask: Asks the far end for a key frame of a track of video.
        patience: Seconds to wait for a missing packet.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        zero: float,
        report: Callable[[CallEvent], None],
        ask: Callable[[Track], None] = lambda _: None,
        patience: float = 0.15,
    ) -> None:
        self._clock = clock
        self._zero = zero
        self._report = report
        self._ask = ask
        self._patience = patience
        self._flows: dict[tuple[int, str, int], Flow] = {}
        self._subscriptions: list[Subscription] = []
        self._held: GapCause | None = None
        self._former: list[Flow] = []
        self._heard: dict[int, float] = {}
        self._closed = False
        self._over: set[int] = set()

    @property
    def now(self) -> float:
        """Seconds of call time."""
        return self._clock() - self._zero

    @property
    def tracks(self) -> list[Track]:
        """The tracks that have begun and not ended."""
        return [flow.track for flow in self._flows.values() if not flow.ended]

    def silent_for(self, segment: int | None = None) -> float | None:
        """Say for how many seconds no packet has come, in this segment or in any; None if none ever came."""
        last = max(self._heard.values(), default=None) if segment is None else self._heard.get(segment)
        return None if last is None else self._clock() - last

    def heard(self, track: Track) -> float | None:
        """Say at which call time the last packet of a track came; None if it is unknown."""
        flow = self._flows.get((track.segment, track.mid, track.ssrc))
        return flow.received - self._zero if flow is not None else None

    def levels(self) -> Mapping[Track, float]:
        """Give the level of each track in dBFS, where packets carry it (RFC 6464); nothing is decoded."""
        now = self._clock()
        return {
            flow.track: float(flow.level) if now - flow.received < 0.5 else SILENCE_DBFS
            for flow in self._flows.values()
            if flow.level is not None and not flow.ended
        }

    def reported(self, segment: int, report: SenderReport) -> tuple[Track, float] | None:
        """Find the track of a sender report, and the call time of the instant that it speaks of."""
        for flow in self._flows.values():
            at, timeline = flow.unwrap.last, flow.timeline
            if flow.ended or (flow.track.segment, flow.track.ssrc) != (segment, report.ssrc):
                continue
            if at is not None and timeline.settled:
                at += distance(report.timestamp, at % 2**TIMESTAMP_BITS, TIMESTAMP_BITS)
                return flow.track, (at + timeline.offset) / timeline.rate
        return None

    def track(self, segment: int, mid: str, ssrc: int, kind: str, rate: int = 48_000) -> Track:
        """Give the track of this name; if it is new it begins now."""
        flow = self._flows.get((segment, mid, ssrc))
        return (flow or self._open(segment, mid, ssrc, kind, rate, self._clock())).track

    def push(self, segment: int, received: Received) -> None:
        """Take a packet of this segment's Peer."""
        if self._closed or segment in self._over:
            return
        self._heard[segment] = received.arrival
        if received.kind == DIGITS:
            received = self._typed(segment, received)
        flow = self._flows.get((segment, received.mid, received.ssrc))
        if flow is None or flow.ended:
            if not received.payload:
                return
            if flow is not None and flow.straggles(received):
                return
            rate = received.clock_rate
            flow = self._open(segment, received.mid, received.ssrc, received.kind, rate, received.arrival)
        flow.received, flow.stamp = received.arrival, received.timestamp
        if received.level is not None:
            flow.level = received.level
        if self._follows(flow, received):
            return
        for ordered in flow.order.push(received):
            self._place(flow, ordered)

    def _typed(self, segment: int, came: Received) -> Received:
        """Take a telephone event; give what it is to its track: a number in the sequence."""
        flow = self._flows.get((segment, came.mid, came.ssrc))
        if flow is None or (flow.ended and not flow.straggles(came)):
            flow = self._open(segment, came.mid, came.ssrc, "audio", SAMPLE_RATE, came.arrival)
        if self._held is not None or flow.ended:
            # What is pressed during a pause is nobody's to know, and no part of it comes out afterwards.
            flow.keypad.forget(came.timestamp)
        else:
            now, at = came.arrival - self._zero, flow.time_of(came, self._zero)
            self._pressed(flow, flow.keypad.take(came.payload, came.timestamp, came.clock_rate, at, now))
        return came._replace(kind="audio", payload=b"")

    def _pressed(self, flow: Flow, presses: Iterable[Press]) -> None:
        for press in presses:
            self._report(DigitPressed(flow.track, press.digit, press.at, press.duration))

    def push_local(self, segment: int, sent: Received) -> None:
        """Take a packet that the bot itself sends; it has a track of its own, which is no sign of others."""
        if self._closed or segment in self._over:
            return
        flow = self._flows.get((segment, sent.mid, sent.ssrc))
        if flow is None or flow.ended:
            rate = sent.clock_rate
            flow = self._open(segment, sent.mid, sent.ssrc, sent.kind, rate, sent.arrival, local=True)
        flow.received = sent.arrival
        if self._follows(flow, sent):
            return
        for ordered in flow.order.push(sent):
            self._place(flow, ordered)

    def tick(self) -> None:
        """Do what time brings: give up missing packets, end what is over, look after the taps.

        Call it every 20 to 100 ms.
        """
        clock = self._clock()
        now = clock - self._zero
        for flow in list(self._flows.values()):
            if flow.ended:
                continue
            if flow.order.waiting:
                for ordered in flow.order.tick(clock):
                    self._place(flow, ordered)
            if flow.timeline.waiting:
                self._emit(flow, flow.timeline.tick(now))
            if flow.keys is not None and flow.sinks and self._held is None and flow.keys.due(clock):
                self._ask(flow.track)
            self._pressed(flow, flow.keypad.tick(now))
            if flow.superseded and clock - flow.received > SUPERSEDED_SECONDS:
                self._finish(flow, flow.last)
        for subscription in list(self._subscriptions):
            tap = subscription.tap
            tap.lane.watch()
            self._tell_drops(tap)
            if tap.detached:
                self._unsubscribe(subscription)

    def _tell_drops(self, tap: Tap, *, over: bool = False) -> None:
        """Say what a plugin did not keep up with, and where that leaves holes for it."""
        for track, count in tap.take_dropped().items():
            self._report(PacketsDropped(tap.lane.name, track, count))
            self._missed(track)
        for track, start, end in tap.take_holes(over=over):
            self._report(GapFound(track, start, end, GapCause.STALLED, tap.lane.name))

    def packets(self, tap: Tap, selects: Callable[[Track], bool], kind: str = "audio") -> Subscription:
        """Send encoded packets to a tap.

        Args:
            tap: Where they go.
            selects: Says of a track whether it is wanted; asked again by `reselect`.
            kind: ``audio``, ``video`` or ``all``.
        """
        return self._subscribe(Subscription(tap, selects, kind, decoded=False, ended=self._unsubscribe))

    def listen(
        self,
        tap: Tap,
        selects: Callable[[Track], bool],
        rate: int = 16_000,
        filters: Callable[[], Sequence[Filter]] | None = None,
    ) -> Subscription:
        """Send decoded audio to a tap; it is decoded in the tap's own thread.

        Args:
            tap: Where the frames go.
            selects: Says of a track whether it is wanted; asked again by `reselect`.
            rate: Samples per second; one of `opus.RATES`.
            filters: Makes the chain of filters of one track.
        """
        tap.stage = Decoding(rate, filters, tap.lane.clock)
        return self._subscribe(Subscription(tap, selects, "audio", decoded=True, ended=self._unsubscribe))

    def reselect(self) -> None:
        """Ask every subscription anew which tracks it wants: attributions have changed."""
        for flow in self._flows.values():
            if not flow.ended:
                self._select(flow)

    @property
    def held(self) -> GapCause | None:
        """Why nothing is given to anybody now, or None."""
        return self._held

    def hold(self, cause: GapCause) -> None:
        """Give nothing to anybody from now on; the span becomes a gap with this cause."""
        if self._held == cause:
            return
        if self._held is not None:
            self.release()
        self._held = cause
        for flow in self._flows.values():
            if not flow.ended:
                flow.keypad.forget()
                self._emit(flow, flow.timeline.hold(self.now, cause))
                self._cut(flow)

    def release(self) -> None:
        """Give again; what was spoken before now is not given later."""
        if self._held is None:
            return
        for flow in self._flows.values():
            if not flow.ended:  # what waits behind a hole came while held, and goes with it
                for ordered in flow.order.flush():
                    self._place(flow, ordered)
        self._held = None
        for flow in self._flows.values():
            if not flow.ended:
                self._emit(flow, flow.timeline.release(self.now))

    def hand_on(self, segment: int, mid: str) -> None:
        """A line was taken from whoever is on it: what comes next is another track, even of the same source.

        An SFU that gives a line to somebody else may keep its source and its numbering.
        """
        for flow in self._flows.values():
            track = flow.track
            if (track.segment, track.mid) == (segment, mid) and not (flow.ended or track.local):
                for ordered in flow.order.flush():
                    self._place(flow, ordered)
                flow.superseded = True
                flow.handed_on = self._clock()
                self._finish(flow, flow.last)

    def end_segment(
        self, segment: int, cause: GapCause = GapCause.REDIAL, *, heard: float | None = None
    ) -> None:
        """End the tracks of a Peer that is gone.

        Those that were alive leave an open gap with this cause, which ends with the first packet that the
        next segment brings on the same line, or with the call.

        Args:
            segment: Which life of the media.
            cause: Why nothing comes any more.
            heard: When anything was last heard of the far end, by the clock; now if None. To notice that it
                is gone takes seconds, and so does closing what led to it: that is no silence of anybody's.
        """
        now = self.now if heard is None else min(heard - self._zero, self.now)
        self._over.add(segment)
        for flow in self._flows.values():
            if flow.track.segment != segment or flow.ended:
                continue
            for ordered in flow.order.flush():
                self._place(flow, ordered)
            alive = now - flow.last < REDIAL_SECONDS
            self._finish(flow, flow.last if alive or flow.superseded else now)
            if not flow.superseded:
                flow.pending = cause

    def close(self) -> None:
        """End everything: gaps up to now, and every track."""
        if self._closed:
            return
        self._closed = True
        now = self.now
        for flow in self._flows.values():
            if flow.ended:
                if flow.pending is not None:
                    self._emit(flow, flow.timeline.finish(now, flow.pending))
                continue
            for ordered in flow.order.flush():
                self._place(flow, ordered)
            self._finish(flow, flow.last if flow.superseded else now)
        for subscription in self._subscriptions:
            self._tell_drops(subscription.tap, over=True)

    # ------------------------------------------------------------ inside

    def _open(
        self, segment: int, mid: str, ssrc: int, kind: str, rate: int, arrival: float, *, local: bool = False
    ) -> Flow:
        former = self._flows.pop((segment, mid, ssrc), None)
        if former is not None:
            self._former.append(former)
        track = Track(segment, mid, ssrc, kind, local, former.track.use + 1 if former else 0)
        origin, cause = self._origin(track, arrival)
        timeline: Timeline[Ordered] = Timeline(rate, origin=origin, opening=cause)
        flow = self._flows[(segment, mid, ssrc)] = Flow(track, timeline, self._patience, arrival)
        self._report(TrackStarted(track, max(origin, arrival - self._zero)))
        if self._held is not None:
            self._emit(flow, timeline.hold(max(self.now, origin), self._held))
        self._select(flow)
        return flow

    def _origin(self, track: Track, arrival: float) -> tuple[float, GapCause]:
        """Find from where a new track is accounted for: where its predecessor on the line ended, or 0."""
        segment, mid = track.segment, track.mid
        before = [
            f
            for f in (*self._former, *self._flows.values())
            if (f.track.kind, f.track.local) == (track.kind, track.local) and not f.superseded
        ]
        for flow in (f for f in before if (f.track.segment, f.track.mid) == (segment, mid)):
            flow.superseded = True
            end = flow.last
            return end, GapCause.DTX if arrival - self._zero - end < DTX_SECONDS else GapCause.MUTED
        lost = [f for f in before if f.pending is not None and f.track.segment < segment]
        # The far end may number its lines anew: the same line first, else the one that has waited longest.
        lost.sort(key=lambda f: (f.track.mid != mid, -f.track.segment))
        for flow in lost[:1]:
            cause, flow.pending = flow.pending, None
            return flow.last, cause or GapCause.REDIAL
        return 0.0, GapCause.LATE_JOIN

    def _follows(self, flow: Flow, came: Received) -> bool:
        """Take a packet that is the next in sequence and time, as nearly all are; the way around is long."""
        timeline = flow.timeline
        ticks = packet_ticks(came.payload)
        if not ticks or flow.track.kind != "audio" or flow.carried or not flow.order.ready(came.sequence):
            return False
        start = timeline.follow(came.timestamp, ticks, came.arrival - self._zero)
        if start is None:
            return False
        sequence = flow.order.follow()
        timestamp = flow.unwrap.last = start - timeline.offset
        if flow.sinks:
            at = start / timeline.rate
            packet = Packet(
                flow.track, came.payload, timestamp, sequence, at, ticks, came.arrival, came.level
            )
            for subscription in flow.sinks:
                subscription.tap.put(packet)
        return True

    def _place(self, flow: Flow, ordered: Ordered) -> None:
        packet = ordered.packet
        video = flow.track.kind != "audio"
        ticks = 0 if video else packet_ticks(packet.payload)
        if not ticks and not video:
            flow.carried += ordered.lost
            return
        lost, flow.carried = flow.carried + ordered.lost, 0
        timestamp = ordered.timestamp = flow.unwrap.unwrap(packet.timestamp)
        arrival = packet.arrival - self._zero
        new = ordered.restarted
        self._emit(flow, flow.timeline.place(ordered, timestamp, ticks, arrival, lost=lost, restarted=new))

    def _emit(self, flow: Flow, placed: Iterable[Placed[Ordered] | Gap]) -> None:
        rate, track = flow.timeline.rate, flow.track
        for found in placed:
            if isinstance(found, Gap):
                if track.kind == "video":  # a frame has no duration, so there is no account of it
                    continue
                self._report(GapFound(track, found.start / rate, found.end / rate, found.cause))
                continue
            if not flow.sinks:
                continue
            packet = _packet(track, found, rate)
            if flow.keys is not None and isinstance(packet, VideoPacket):
                flow.keys.take(packet)
            for subscription in flow.sinks:
                subscription.tap.put(packet)

    def _finish(self, flow: Flow, end: float) -> None:
        self._emit(flow, flow.timeline.finish(end))
        flow.ended = True
        rate = flow.timeline.rate
        self._report(TrackEnded(flow.track, flow.timeline.cursor / rate, flow.timeline.audio / rate))
        self._cut(flow)
        flow.sinks = []

    def _cut(self, flow: Flow) -> None:
        for subscription in flow.sinks:
            if subscription.decoded:
                subscription.tap.put(Cut(flow.track))

    def _select(self, flow: Flow) -> None:
        wanted = [s for s in self._subscriptions if s.wants(flow.track)]
        for subscription in flow.sinks:
            if subscription.decoded and subscription not in wanted:
                subscription.tap.put(Cut(flow.track))
        if flow.keys is not None and not set(wanted) <= set(flow.sinks):
            flow.keys.lost()  # whoever comes later has seen nothing yet
        flow.sinks = wanted

    def _missed(self, track: Track) -> None:
        """A sink did not get all of a track."""
        flow = self._flows.get((track.segment, track.mid, track.ssrc))
        if flow is not None and flow.keys is not None:
            flow.keys.lost()

    def _subscribe(self, subscription: Subscription) -> Subscription:
        self._subscriptions.append(subscription)
        self.reselect()
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._tell_drops(subscription.tap, over=True)
        for flow in self._flows.values():
            if subscription in flow.sinks:
                flow.sinks = [s for s in flow.sinks if s is not subscription]


def _packet(track: Track, placed: Placed[Ordered], rate: int) -> Packet:
    """Make of what was placed what sinks take."""
    came, at = placed.item.packet, placed.start / rate
    plain = (track, came.payload, placed.item.timestamp, placed.item.sequence, at, placed.duration)
    if isinstance(came, ReceivedVideo):
        return VideoPacket(*plain, came.arrival, None, came.codec, came.marker)
    return Packet(*plain, came.arrival, came.level)
