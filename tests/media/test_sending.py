"""What is sent by our own tick, and by aiortc's sender where that does not fit."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.media.hearing import speaking
from voki_bots.media.datagrams import ReceivePath
from voki_bots.media.prompts import LEAD_IN, Prompt
from voki_bots.media.rtp import Received
from voki_bots.media.sending import PERIOD_SECONDS, Outlet, PlayOut
from voki_bots.media.shortcuts import send_misfit
from voki_bots.testing.signals import tone


@pytest.fixture(params=[ReceivePath.TICK, ReceivePath.RECEIVER], ids=["own", "aiortc"])
def path(request: pytest.FixtureRequest) -> ReceivePath:
    """What holds for both ways out is tried on both."""
    found: ReceivePath = request.param
    return found


def prompt(seconds: float = 0.3) -> Prompt:
    return Prompt.from_pcm(tone(440, seconds))


async def test_packets_arrive_as_they_were_encoded(path: ReceivePath, far: Any, until: Any) -> None:
    """After the lead-in, the far end has the prompt's own packets, in sequence, by the line's mid."""
    heard, one = list[Received](), prompt()
    async with speaking(heard, far, path=path) as (_, voice):
        await voice.say(one)
        await until(lambda: len(heard) == LEAD_IN + len(one.packets))
    assert [r.payload for r in heard][LEAD_IN:] == list(one.packets)
    steps = {(b.sequence - a.sequence, b.timestamp - a.timestamp) for a, b in itertools.pairwise(heard)}
    assert (steps, {r.mid for r in heard}) == ({(1, 960)}, {"0"})


async def test_sender_reports_count_what_was_sent(path: ReceivePath, far: Any, until: Any) -> None:
    """RTCP tells packets, octets, and when that was by the wall clock."""
    heard, one = list[Received](), prompt()

    def report() -> Any:
        stats = far.pc.getReceivers()[0]._RTCRtpReceiver__stats.values()
        return next((s for s in stats if s.type == "remote-outbound-rtp" and s.packetsSent), None)

    async with speaking(heard, far, path=path) as (_, voice):
        await voice.say(one)
        await until(lambda: (found := report()) and found.packetsSent == len(heard))
    told = report()
    assert told.bytesSent == sum(len(r.payload) for r in heard)
    assert abs(told.remoteTimestamp.timestamp() - time.time()) < 5


async def test_what_is_asked_for_again_is_sent_again(path: ReceivePath, far: Any, until: Any) -> None:
    """A NACK brings a lost packet (RFC 4585 section 6.2.1)."""
    heard, one, lost = list[Received](), prompt(), list[int]()
    async with speaking(heard, far, path=path) as (_, voice):
        connection = far.transport.transport._connection
        stock = connection.data_received

        def lossy(data: bytes, component: int) -> None:
            if len(heard) == LEAD_IN + 2 and not lost and not 64 <= data[1] & 0x7F < 96:
                lost.append(int.from_bytes(data[2:4], "big"))
            else:
                stock(data, component)

        connection.data_received = lossy
        await voice.say(one)
        await until(lambda: len(heard) == LEAD_IN + len(one.packets) - 1)
        await far.pc.getReceivers()[0]._send_rtcp_nack(heard[0].ssrc, lost)
        await until(lambda: len(heard) == LEAD_IN + len(one.packets))
    assert (heard[-1].sequence, heard[-1].payload) == (lost[0], one.packets[2])


async def test_each_talkspurt_begins_with_a_marker(far: Any, until: Any) -> None:
    """The marker bit is on the first packet after a silence, and on no other (RFC 3551 section 4.1)."""
    heard, one = list[Received](), prompt(0.1)
    async with speaking(heard, far) as (_, voice):
        await voice.say(one)
        await asyncio.sleep(0.1)
        await voice.say(one)
        await until(lambda: len(heard) == LEAD_IN + 2 * len(one.packets))
    assert [n for n, r in enumerate(heard) if r.marker] == [0, LEAD_IN + len(one.packets)]


async def test_what_was_sent_is_shown_as_it_was_sent(far: Any, until: Any) -> None:
    """Whoever records what the bot says gets the packets that the far end got."""
    heard, sent = list[Received](), list[Received]()
    async with speaking(heard, far, on_sent=sent.append) as (_, voice):
        await voice.say(prompt())
        await until(lambda: len(heard) == voice.sent)

    def seen(one: Received) -> Any:
        return one.mid, one.ssrc, one.sequence, one.timestamp, one.payload

    assert [seen(r) for r in sent] == [seen(r) for r in heard]


async def test_a_line_on_hold_is_not_sent_on(far: Any, until: Any) -> None:
    """What the far end does not want goes nowhere, and is not recorded as said."""
    heard, sent = list[Received](), list[Received]()
    async with speaking(heard, far, on_sent=sent.append) as (ours, voice):
        ours._pc.getSenders()[0]._enabled = False
        await voice.say(prompt())
    assert (heard, sent, voice.sent > 0) == ([], [], True)


async def test_nobody_speaking_leaves_no_timer(far: Any) -> None:
    """A silent bot sends nothing and costs nothing."""
    async with speaking([], far) as (_, voice):
        await voice.say(prompt(0.05))
        await asyncio.sleep(2 * PERIOD_SECONDS)
        scheduled = [h for h in asyncio.get_running_loop()._scheduled if not h.cancelled()]  # type: ignore[attr-defined]
        assert not [h for h in scheduled if "PlayOut" in repr(h)]


def test_a_sender_of_another_shape_is_left_to_aiortc() -> None:
    """What does not fit is noticed by looking, and named."""
    connection = SimpleNamespace(_nominated={})
    dtls = SimpleNamespace(transport=SimpleNamespace(_connection=connection))
    assert send_misfit(SimpleNamespace(transport=dtls)) == "the sender has no ntp_timestamp"


async def test_without_the_own_way_aiortc_pulls_and_it_is_said_once(capsys: Any) -> None:
    """An unknown sender is started with its parameters, and its track is given packets."""

    class Said:
        speaking = False

        def connect(self, wake: Any = None) -> None:
            self.wake = wake

        def due(self, now: float) -> None: ...

        async def pull(self) -> tuple[int, bytes]:
            return 960, b"x"

    async def send(parameters: Any) -> None: ...

    connection = SimpleNamespace(_nominated={})
    dtls = SimpleNamespace(transport=SimpleNamespace(_connection=connection))
    senders = [SimpleNamespace(transport=dtls, send=send, _ssrc=7) for _ in range(2)]
    source, sent, told = Said(), list[Received](), list[str]()
    for sender in senders:
        outlet = Outlet(sender, source, clock=lambda: 0.0, on_sent=sent.append, on_fallback=told.append)
        await sender.send(SimpleNamespace(muxId="1"))
    assert await outlet.pull() == (960, b"x")
    assert (outlet.own, source.wake, sent[0].payload, told) == (False, None, b"x", ["send_path"] * 2)
    assert capsys.readouterr().out.count("send_path_unavailable") <= 1


class Turns:
    """An outlet that notes its turns, and is done after some."""

    def __init__(self, count: int) -> None:
        self.at: list[tuple[float, float]] = []
        self._count = count

    def turn(self, now: float, ntp: int) -> bool:
        self.at.append((now, asyncio.get_running_loop().time()))
        return len(self.at) < self._count


@pytest.mark.looptime
async def test_one_that_raises_is_out_and_the_others_go_on() -> None:
    """A call that fails in its turn takes none from the rest, but for a tick."""
    loop, raised = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, what: raised.append(what["exception"]))
    playout, first, bad, last = PlayOut(loop), Turns(9), Turns(0), Turns(9)
    bad.turn = lambda now, ntp: 1 // 0  # type: ignore[method-assign,assignment]
    for one in (first, bad, last):
        playout.add(one)  # type: ignore[arg-type]
    await asyncio.sleep(0.3)
    assert ([type(error) for error in raised], len(first.at), len(last.at)) == ([ZeroDivisionError], 9, 9)


@pytest.mark.looptime
async def test_turns_are_on_a_grid_of_their_own_time() -> None:
    """Each turn is told the moment of the grid at which it is due, and is there at that moment."""
    loop = asyncio.get_running_loop()
    playout, one = PlayOut(loop), Turns(5)
    await asyncio.sleep(0.013)
    playout.add(one)  # type: ignore[arg-type]
    await asyncio.sleep(0.2)
    assert [round(now / PERIOD_SECONDS, 6) for now, _ in one.at] == [1, 2, 3, 4, 5]
    assert max(abs(now - at) for now, at in one.at) < 1e-6
