"""The dialler's task: it ends when it is told to, whatever else happens in that moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from voki_bots import calls
from voki_bots.bots.dial import Dialler, Rung
from voki_bots.bots.leg import Leg
from voki_bots.bots.roster import Roster
from voki_bots.calls import OfferReceived
from voki_bots.errors import NegotiationError
from voki_bots.media.peer import Candidate, Peer
from voki_bots.media.receive import TrackStatistics
from voki_bots.media.rtp import Received

OFFER = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:{}\r\n"
SOON = 5.0


class Connection:
    """A Peer that is up at once, and lost when the far end closes it."""

    ufrag = "abcd"
    rtt = None
    restarting = False
    closing = 0.0

    def __init__(self) -> None:
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.failing = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        await asyncio.sleep(self.closing)

    async def offer(self, audio_lines: int, video_lines: int) -> str:
        return OFFER.format("ours")

    async def answer(self, offer: str) -> str:
        if self.restarting:
            raise NegotiationError("the far end's offer restarts ICE", step="ice-restart")
        return offer

    def local_candidates(self) -> list[Candidate]:
        return []

    async def connected(self, timeout: float) -> None:
        return None

    async def failed(self) -> str:
        try:
            return await asyncio.shield(self.over)
        finally:
            self.failing.set()

    async def statistics(self) -> list[TrackStatistics]:
        return []


class Call:
    """What the dialler works for: it remembers what it was told."""

    def __init__(self) -> None:
        self.peers: list[Connection] = []
        self.ended: list[str] = []
        self.dead: list[Peer | None] = []
        self.up = asyncio.Event()

    async def make_peer(self, segment: int, *, attempt: int, rung: Rung) -> Peer:
        self.peers.append(Connection())
        return cast(Peer, self.peers[-1])

    def connected(self, segment: int, peer: Peer) -> None:
        self.up.set()

    def lost(self, segment: int, cause: str, *, dead: Peer | None) -> None:
        self.up.clear()
        self.dead.append(dead)
        self.ended.append(cause)

    def send(self, event: str, payload: Mapping[str, object]) -> None: ...
    def described(self, segment: int, peer: Peer) -> None: ...
    def stalled(self, segment: int, peer: Peer) -> str | None: ...
    def patience(self, segment: int) -> float:
        return math.inf

    def deaf(self, segment: int, peer: Peer) -> str | None: ...
    def lines_missing(self, segment: int, peer: Peer) -> int:
        return 0

    def measured(self, segment: int, found: Sequence[TrackStatistics], rtt: float | None) -> None: ...
    def yielded(self, segment: int) -> None: ...
    def suspect(self, segment: int, peer: Peer) -> None: ...
    async def rejoin(self) -> None: ...


async def dialled() -> tuple[Call, Dialler, asyncio.Task[None]]:
    """A dialler whose first connection is up."""
    call = Call()
    dialler = Dialler(cast(Any, call), clock=asyncio.get_running_loop().time)
    dialler.signal(OfferReceived(OFFER.format("abcd")))
    running = asyncio.create_task(dialler.run())
    async with asyncio.timeout(SOON):
        await call.up.wait()
    return call, dialler, running


async def test_a_connection_that_ends_has_a_successor() -> None:
    """The far end closes, and offers anew: the next segment answers it."""
    call, dialler, running = await dialled()
    call.peers[0].over.set_result("the far end closed the connection")
    dialler.signal(OfferReceived(OFFER.format("efgh")))
    async with asyncio.timeout(SOON):
        while len(call.peers) < 2 or not call.up.is_set():
            await asyncio.sleep(0)
    assert (call.ended, dialler.segment) == (["the far end closed the connection"], 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("restarted", [False, True])
async def test_only_a_connection_that_died_is_told_as_dead(restarted: bool) -> None:
    """One that the far end replaces by an ICE restart was alive, and so is whatever it went through."""
    call, dialler, running = await dialled()
    first = call.peers[0]
    if restarted:
        first.restarting = True
        dialler.signal(OfferReceived(OFFER.format("efgh")))
    else:
        first.over.set_result("the far end closed the connection")
    async with asyncio.timeout(SOON):
        while not call.ended:
            await asyncio.sleep(0)
    assert call.dead == [None if restarted else first]
    running.cancel()
    await asyncio.wait([running])


async def test_a_connection_that_ends_while_the_call_is_left_has_none() -> None:
    """Whoever leaves is hung up on: that is no loss of media, and nobody dials again."""
    call, dialler, running = await dialled()
    dialler.leaving()
    call.peers[0].over.set_result("the far end closed the connection")
    async with asyncio.timeout(SOON):
        await running
    assert (len(call.peers), call.ended) == (1, [])


@pytest.mark.parametrize("turns", range(8))
async def test_cancelling_ends_it_though_the_connection_ends_in_that_moment(turns: int) -> None:
    """However many turns of the event loop the loss is ahead of the cancellation."""
    call, _, running = await dialled()
    call.peers[0].over.set_result("the far end closed the connection")
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=SOON)
    assert done and running.cancelled()


class Silent(Call):
    """A call whose media end, as a real leg sees it; connections take long to close."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: list[float] = []
        clock = asyncio.get_running_loop().time
        roster = Roster(calls.Call("acme", "c1"), "u1")
        roster.joined(calls.Participant("ana", "Ana", calls.Role.CUSTOMER), 0.0)
        nobody = lambda _: None  # noqa: E731
        room: Any = SimpleNamespace(speaks=False, roster=roster, publish=nobody, met=nobody)
        account: Any = SimpleNamespace(tenant="acme")
        leg = Leg(room, account, zero=clock(), segment=0, clock=clock)
        self.pipeline = leg.pipeline
        self.stalled = leg.stalled  # type: ignore[method-assign]
        self.patience = leg.patience  # type: ignore[method-assign]

    async def make_peer(self, segment: int, *, attempt: int, rung: Rung) -> Peer:
        peer = await super().make_peer(segment, attempt=attempt, rung=rung)
        self.peers[-1].closing = 5.0
        return peer

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        if payload.get("type") == "offer":
            self.offered.append(asyncio.get_running_loop().time())


@pytest.mark.looptime
@pytest.mark.parametrize("phase", [0.0, 0.013, 0.1, 0.2399, 0.249])
async def test_media_that_stop_are_dialled_for_in_two_and_a_half_seconds(phase: float) -> None:
    """Whenever they stop between two looks, however long closing takes: half a second is left of three."""
    call, clock = Silent(), asyncio.get_running_loop().time
    dialler = Dialler(cast(Any, call), clock=clock)
    dialler.signal(OfferReceived(OFFER.format("abcd")))
    running = asyncio.create_task(dialler.run())
    await call.up.wait()
    end = clock() + 3.0 + phase
    for n in range(200):
        await asyncio.sleep(max(0.0, end - (199 - n) * 0.02 - clock()))
        came = ("0", 7, "audio", 111, n, n * 960, False, b"\xf8\x01", None, clock(), 48_000)
        call.pipeline.push(0, Received(*came))
    last = clock()
    await asyncio.sleep(3.0)
    assert 2.0 <= call.offered[0] - last <= 2.5
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
