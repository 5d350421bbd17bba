"""One Peer after another: negotiate, watch, and dial again as the next segment.

aiortc knows neither rollback nor ICE restart, so whatever goes wrong is answered with a new Peer. The bot is
always the polite side: an offer is accepted at any time, and our own outstanding offer gives way to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from voki_bots.calls import AnswerReceived, CandidateReceived, OfferReceived
from voki_bots.errors import IceError, NegotiationError
from voki_bots.media.peer import Peer
from voki_bots.media.sdp import ufrag_of
from voki_bots.signalling import payloads

_log = structlog.get_logger(__name__)

OFFER_WAIT = 0.5
"""Seconds that the SFU is given to offer first (question Q14)."""

ANSWER_WAIT = 10.0
"""Seconds after which an unanswered offer counts as refused."""

CONNECT_WAIT = 15.0
"""Seconds for ICE and DTLS; aiortc by itself may stay in ``connecting`` for ever."""

STALL_CHECK = 0.25
"""Seconds between two looks for evidence that media still flow."""

BACKOFF = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds before dialling again, by the number of failures in a row."""

Signal = OfferReceived | AnswerReceived | CandidateReceived


class Line(Protocol):
    """What the dialler needs of its session."""

    def make_peer(self, segment: int, attempt: int) -> Awaitable[Peer]:
        """A new Peer, not yet entered; `attempt` counts the failures in a row."""

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel; buffered while it is away."""

    def described(self, segment: int, peer: Peer) -> None:
        """A remote description was applied: m-lines may have changed hands."""

    def connected(self, segment: int, peer: Peer) -> None:
        """ICE and DTLS are up."""

    def stalled(self, segment: int, peer: Peer) -> str | None:
        """Why this connection must be given up although it claims to be up, or None."""

    def lost(self, segment: int, cause: str) -> None:
        """This segment is over."""


class _Lost(Exception):
    """A segment is over. `offer` is a description that the next Peer is to answer."""

    def __init__(self, cause: str, offer: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.offer = offer


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
        self._first_segment = segment
        self.segment = segment

    def signal(self, signal: Signal) -> None:
        """Take what the SFU signals, at any time."""
        self._signals.put_nowait(signal)

    async def run(self) -> None:
        """Dial, and dial again, until cancelled."""
        failures, offer = 0, None
        while True:
            connected, lost = await self._dial(offer, failures)
            self._line.lost(self.segment, lost.cause)
            self.segment += 1
            offer = lost.offer
            failures = 0 if connected else failures + 1
            delay = 0.0 if offer else BACKOFF[min(failures, len(BACKOFF) - 1)]
            if delay:
                _log.warning("dialling_again", segment=self.segment, after=delay, cause=lost.cause)
                await asyncio.sleep(delay)

    async def _dial(self, offer: str | None, attempt: int) -> tuple[bool, _Lost]:
        """One segment; returns whether it was ever connected, and why it ended."""
        up = asyncio.Event()
        over: list[_Lost] = []
        async with await self._line.make_peer(self.segment, attempt) as peer:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._negotiate(peer, offer))
                    group.create_task(self._watch(peer, up))
            except* _Lost as lost:
                over += [e for e in lost.exceptions if isinstance(e, _Lost)]
            except* NegotiationError as errors:
                over += [_Lost(f"{error}") for error in errors.exceptions]
            except* IceError as errors:
                over += [_Lost(f"{error}") for error in errors.exceptions]
        return up.is_set(), over[0] if over else _Lost("ended")

    # ------------------------------------------------------------ negotiation

    async def _negotiate(self, peer: Peer, offer: str | None) -> None:
        if offer is None and self.segment == self._first_segment:
            offer = await self._first_offer(peer)
        waiting_since: float | None = None
        if offer is not None:
            await self._answer(peer, offer)
        else:
            self._line.send("signal", payloads.signal("offer", await peer.offer()))
            self._push_candidates(peer, end=False)
            waiting_since = self._clock()
        while True:
            match await self._next_signal(waiting_since):
                case OfferReceived(sdp):
                    if waiting_since is not None:
                        # Glare: aiortc cannot roll back, and we are the polite side.
                        raise _Lost("the SFU offered while our offer was open", sdp)
                    if peer.ufrag is not None and ufrag_of(sdp) not in (None, peer.ufrag):
                        raise _Lost("the SFU restarted ICE", sdp)
                    await self._answer(peer, sdp)
                case AnswerReceived(sdp):
                    if waiting_since is None:
                        _log.warning("unexpected_answer", segment=self.segment)
                        continue
                    await peer.accept(sdp)
                    waiting_since = None
                    self._line.described(self.segment, peer)
                case CandidateReceived(candidate, mid, index):
                    await peer.add_candidate(candidate, mid, index)

    async def _first_offer(self, peer: Peer) -> str | None:
        """Wait a moment for an offer of the SFU; its candidates may come before it."""
        try:
            async with asyncio.timeout(OFFER_WAIT):
                while True:
                    match await self._signals.get():
                        case OfferReceived(sdp):
                            return sdp
                        case CandidateReceived(candidate, mid, index):
                            await peer.add_candidate(candidate, mid, index)
                        case AnswerReceived():
                            _log.warning("unexpected_answer", segment=self.segment)
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

    async def _answer(self, peer: Peer, offer: str) -> None:
        self._line.send("signal", payloads.signal("answer", await peer.answer(offer)))
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

    async def _watch(self, peer: Peer, up: asyncio.Event) -> None:
        await peer.connected(CONNECT_WAIT)
        up.set()
        self._line.connected(self.segment, peer)
        failed = asyncio.ensure_future(peer.failed())
        try:
            while True:
                done, _ = await asyncio.wait([failed], timeout=STALL_CHECK)
                if done:
                    raise _Lost(failed.result())
                if cause := self._line.stalled(self.segment, peer):
                    raise _Lost(cause)
        finally:
            failed.cancel()
