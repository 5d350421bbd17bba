"""One Peer after another: negotiate, watch, and dial again as the next segment.

aiortc knows no ICE restart, so whatever goes wrong is answered with a new Peer. The bot is
always the polite side: an offer is accepted at any time, and our own outstanding offer gives way to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never, Protocol

import structlog

from voki_bots.calls import AnswerReceived, CandidateReceived, OfferReceived
from voki_bots.errors import IceError, NegotiationError
from voki_bots.media.peer import Peer
from voki_bots.media.receive import TrackStatistics
from voki_bots.media.sdp import ufrag_of
from voki_bots.signalling import payloads

_log = structlog.get_logger(__name__)

OFFER_WAIT = 0.5
"""Seconds that the SFU is given to offer first (question Q14)."""

REDIAL_WAIT = 0.15
"""Seconds that it is given when a connection was lost: it may have noticed first."""

ANSWER_WAIT = 5.0
"""Seconds after which an unanswered offer counts as refused."""

CONNECT_WAIT = 15.0
"""Seconds for ICE and DTLS; aiortc by itself may stay in ``connecting`` for ever."""

STALL_CHECK = 0.25
"""Seconds between two looks for evidence that media still flow; they come sooner if a stall is due sooner."""

CLOSE_WAIT = 0.1
"""Seconds for which a dead connection may hold up its successor; the rest of its closing goes on beside."""

MEASURE = 5.0
"""Seconds between two measurements of every track."""

STALL_SLACK = 0.5
"""A look that comes later than this says more of our own loop than of the far end."""

BACKOFF = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds before dialling again, by the number of failures in a row."""

REJOIN_AFTER = 2
"""Connections that failed in a row, after which the topic is left and joined anew (question Q23)."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What our offer holds: lines of audio and of video, and whether we send silence (questions Q17, Q20)."""

    audio: int = 1
    video: int = 0
    sending: bool = False


LADDER = (Rung(), Rung(audio=2, video=1), Rung(video=1, sending=True))
"""From what a known SFU takes to what a strange one may insist on, climbed where the one before brought
nothing. Spare lines come second: an SFU that places nobody on them answers them `inactive`."""


@dataclass(frozen=True, slots=True)
class MoreLines:
    """Too few lines for all that are present: offer so many more (question Q17, the third design)."""

    segment: int
    count: int


Signal = OfferReceived | AnswerReceived | CandidateReceived | MoreLines


class Line(Protocol):
    """What the dialler needs of its session."""

    def make_peer(self, segment: int, *, attempt: int, rung: Rung) -> Awaitable[Peer]:
        """A new Peer, not yet entered; `attempt` counts the connections that failed in a row before it."""

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel; buffered while it is away."""

    def described(self, segment: int, peer: Peer) -> None:
        """A remote description was applied: m-lines may have changed hands."""

    def connected(self, segment: int, peer: Peer) -> None:
        """ICE and DTLS are up."""

    def stalled(self, segment: int, peer: Peer) -> str | None:
        """Why this connection must be given up although it claims to be up, or None."""

    def patience(self, segment: int) -> float:
        """After how many seconds `stalled` may say so if nothing comes meanwhile."""

    def deaf(self, segment: int, peer: Peer) -> str | None:
        """Why an offer of another kind should be tried on this connection's successor, or None."""

    def lines_missing(self, segment: int, peer: Peer) -> int:
        """How many lines more there should be for those present; told once for each who joined."""

    def yielded(self, segment: int) -> None:
        """Our offer of more lines was taken back; whether they are still missing is to be looked at anew."""

    def measured(self, segment: int, found: Sequence[TrackStatistics], rtt: float | None) -> None:
        """The numbers of every remote source so far."""

    def suspect(self, segment: int, peer: Peer) -> None:
        """Consider whether a line carries more than one voice."""

    def lost(self, segment: int, cause: str, *, dead: Peer | None) -> None:
        """This segment is over; `dead` is its Peer if that was up and died, and was not merely replaced."""

    async def rejoin(self) -> None:
        """Leave the call's topic and join it anew: the SFU does not listen to us any more."""


class _Lost(Exception):
    """A segment is over.

    `offer` is a description that the next Peer is to answer; `climb` asks for the next rung of the ladder.
    """

    def __init__(self, cause: str, offer: str | None = None, *, climb: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.offer = offer
        self.climb = climb


class Dialler:
    """Keeps media connected for as long as its task runs.

    Args:
        line: The session.
        clock: Seconds of the event loop.
        segment: The number of the first segment.
    """

    def __init__(self, line: Line, *, clock: Callable[[], float], segment: int = 0) -> None:
        self._line = line
        self._clock = clock
        self._signals: asyncio.Queue[Signal] = asyncio.Queue()
        self._listen_first = True
        self._spent: set[str | None] = set()
        self._leaving = False
        self._closing: set[asyncio.Task[None]] = set()
        self.segment = segment
        self.rung = 0

    def leaving(self) -> None:
        """The call is being left: a connection that ends from now on has no successor."""
        self._leaving = True

    def signal(self, signal: Signal) -> None:
        """Take what the SFU signals, at any time."""
        self._signals.put_nowait(signal)

    async def run(self) -> None:
        """Dial, and dial again, until cancelled, or until a connection ends while the call is left."""
        try:
            await self._run()
        finally:
            await self._closed()

    async def _run(self) -> None:
        failures, offer = 0, None
        while True:
            connected, lost = await self._dial(offer, failures)
            if self._leaving:
                return
            died = connected is not None and lost.offer is None and not lost.climb
            self._line.lost(self.segment, lost.cause, dead=connected if died else None)
            self.segment += 1
            offer = lost.offer if lost.offer and ufrag_of(lost.offer) not in self._spent else None
            failures = 0 if connected else failures + 1
            if lost.climb or failures:
                self.rung = min(self.rung + 1, len(LADDER) - 1) if lost.climb else failures % len(LADDER)
            if failures and not offer and failures % REJOIN_AFTER == 0:
                _log.warning("rejoining", segment=self.segment, failures=failures, cause=lost.cause)
                self._listen_first = True
                await self._line.rejoin()
            delay = 0.0 if offer else BACKOFF[min(failures, len(BACKOFF) - 1)]
            if delay:
                _log.warning("dialling_again", segment=self.segment, after=delay, cause=lost.cause)
                await asyncio.sleep(delay)

    async def _dial(self, offer: str | None, failures: int) -> tuple[Peer | None, _Lost]:
        """One segment; returns its Peer if that was ever connected, and why it ended."""
        up = asyncio.Event()
        peer = await self._line.make_peer(self.segment, attempt=failures, rung=LADDER[self.rung])
        await peer.__aenter__()
        try:
            over = await _first_end(self._negotiate(peer, offer, up), self._watch(peer, up))
            if peer.ufrag is not None:
                self._spent.add(peer.ufrag)
        finally:
            await self._close(peer)
        return peer if up.is_set() else None, over if isinstance(over, _Lost) else _Lost(str(over))

    async def _close(self, peer: Peer) -> None:
        """Begin to close a Peer, and wait a little; `_closed` waits for the rest."""
        closing = asyncio.create_task(peer.close(), name=f"closing-{self.segment}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.wait({closing}, timeout=CLOSE_WAIT)

    async def _closed(self) -> None:
        """Wait until no Peer of ours is left, whoever cancels us meanwhile; each has a limit of its own."""
        cancelled: asyncio.CancelledError | None = None
        while self._closing:
            try:
                await asyncio.wait(set(self._closing))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    # ------------------------------------------------------------ negotiation

    async def _negotiate(self, peer: Peer, offer: str | None, up: asyncio.Event) -> Never:
        if offer is None:
            offer = await self._first_offer(peer, OFFER_WAIT if self._listen_first else REDIAL_WAIT)
        self._listen_first = False
        ours_since: float | None = None
        if offer is not None:
            await self._answer(peer, offer)
        else:
            rung = LADDER[self.rung]
            await self._offer(peer, await peer.offer(rung.audio, rung.video))
            ours_since = self._clock()
        while True:
            match await self._next_signal(None if up.is_set() else ours_since):
                case OfferReceived(sdp):
                    if ours_since is not None:
                        # Glare, and we are the polite side. Before there is a connection nothing is lost by
                        # a new one; in a live call our offer is taken back.
                        if not (up.is_set() and peer.roll_back()):
                            raise _Lost("the SFU offered while our offer was open", sdp)
                        ours_since = None
                        self._line.yielded(self.segment)
                    await self._answer(peer, sdp)
                case AnswerReceived(sdp):
                    if ours_since is None:
                        _log.warning("unexpected_answer", segment=self.segment)
                        continue
                    await peer.accept(sdp)
                    ours_since = None
                    self._line.described(self.segment, peer)
                case CandidateReceived(candidate, mid, index):
                    await peer.add_candidate(candidate, mid, index)
                case MoreLines(segment, count):
                    # An offer that stays unanswered costs nothing here: media goes on as it was.
                    if segment == self.segment and ours_since is None:
                        await self._offer(peer, await peer.offer(spare=count))
                        ours_since = self._clock()

    async def _first_offer(self, peer: Peer, wait: float) -> str | None:
        """Wait a moment for an offer of the SFU; its candidates may come before it.

        One that names the credentials of the connection that was lost is of no use to a new Peer.
        """
        try:
            async with asyncio.timeout(wait):
                while True:
                    match await self._signals.get():
                        case OfferReceived(sdp):
                            if ufrag_of(sdp) not in self._spent:
                                return sdp
                        case CandidateReceived(candidate, mid, index):
                            await peer.add_candidate(candidate, mid, index)
                        case AnswerReceived():
                            _log.warning("unexpected_answer", segment=self.segment)
                        case MoreLines():
                            continue
        except TimeoutError:
            return None

    async def _next_signal(self, waiting_since: float | None) -> Signal:
        if waiting_since is None:
            return await self._signals.get()
        try:
            async with asyncio.timeout(max(0.0, waiting_since + ANSWER_WAIT - self._clock())):
                return await self._signals.get()
        except TimeoutError:
            raise NegotiationError(
                f"the SFU did not answer our offer within {ANSWER_WAIT:g} s", step="answer"
            ) from None

    async def _offer(self, peer: Peer, offer: str) -> None:
        self._line.send("signal", payloads.signal("offer", offer))
        self._push_candidates(peer, end=False)

    async def _answer(self, peer: Peer, offer: str) -> None:
        try:
            answer = await peer.answer(offer)
        except NegotiationError as error:
            if error.step != "ice-restart":
                raise
            raise _Lost("the SFU restarted ICE", offer) from error
        self._line.send("signal", payloads.signal("answer", answer))
        self._push_candidates(peer, end=True)
        self._line.described(self.segment, peer)

    def _push_candidates(self, peer: Peer, *, end: bool) -> None:
        """They are in the description already, but some servers read only what is trickled (Q15).

        An ex_webrtc server nominates a pair only after it was told the end of candidates, which is an empty
        string there; the W3C form.
        """
        first = None
        for one in peer.local_candidates():
            first = first or one
            self._line.send("ice_candidate", payloads.ice_candidate(one.candidate, one.mid, one.line))
        if end:
            mid, line = (first.mid, first.line) if first else ("0", 0)
            self._line.send("ice_candidate", payloads.ice_candidate("", mid, line))

    # ------------------------------------------------------------ evidence

    async def _watch(self, peer: Peer, up: asyncio.Event) -> Never:
        await peer.connected(CONNECT_WAIT)
        up.set()
        self._line.connected(self.segment, peer)
        failed = asyncio.ensure_future(peer.failed())
        looked = self._clock()
        due = looked + MEASURE
        try:
            while True:
                pause = min(STALL_CHECK, max(0.02, self._line.patience(self.segment)))
                done, _ = await asyncio.wait([failed], timeout=pause)
                if done:
                    raise _Lost(failed.result())
                late, looked = self._clock() - looked - pause, self._clock()
                if late < STALL_SLACK:
                    self._look(peer)
                if looked >= due:
                    due = looked + MEASURE
                    self._line.measured(self.segment, await peer.statistics(), peer.rtt)
        finally:
            failed.cancel()

    def _look(self, peer: Peer) -> None:
        if cause := self._line.stalled(self.segment, peer):
            raise _Lost(cause)
        if self.rung < len(LADDER) - 1 and (cause := self._line.deaf(self.segment, peer)):
            raise _Lost(cause, climb=True)
        self._line.suspect(self.segment, peer)
        if missing := self._line.lines_missing(self.segment, peer):
            self._signals.put_nowait(MoreLines(self.segment, missing))


async def _first_end(*works: Coroutine[Any, Any, Never]) -> Exception:
    """Run side by side until one ends what all of them work for; gives its error, raises any other.

    No task group: before Python 3.13, one whose child fails while it is itself cancelled forgets the latter.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [end for end in ends if not isinstance(end, asyncio.CancelledError)]
    for error in errors:
        if not isinstance(error, _Lost | NegotiationError | IceError):
            raise error
    return next(error for error in errors if isinstance(error, Exception))
