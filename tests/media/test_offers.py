"""A Peer's later offers, for SFUs that want more lines of us."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from voki_bots.media.peer import Peer
from voki_bots.media.rtp import Received


def as_a_browser(text: str) -> str:
    """An offer of aiortc's with the numbers of somebody else."""
    text = re.sub(r"(m=audio \d+ \S+) 96", r"\1 111", text)
    for ours, theirs in (
        ("rtpmap:96 ", "rtpmap:111 "),
        ("fmtp:96 ", "fmtp:111 "),
        ("extmap:1 ", "extmap:4 "),
    ):
        text = text.replace(ours, theirs)
    return text.replace("extmap:2 ", "extmap:14 ")


async def test_a_later_offer_keeps_the_numbers_of_the_far_end() -> None:
    """Opus stays 111 and the MID 4, on the first line and on one that is new: a number means one thing."""
    clock = asyncio.get_running_loop().time
    async with (
        Peer(0, loopback=True, on_packet=lambda _: None, clock=clock) as theirs,
        Peer(0, loopback=True, on_packet=lambda _: None, clock=clock) as ours,
    ):
        await ours.answer(as_a_browser(await theirs.offer()))
        offer = await ours.offer(spare=1)
    mids = offer.count("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid")
    assert (offer.count("a=rtpmap:111 opus"), mids) == (2, 2)


async def test_an_offer_that_was_taken_back_leaves_nothing_behind(far: Any, until: Any) -> None:
    """The far end's crossing offer is answered, a later one of ours is accepted, and media never stop."""
    heard = list[Received]()
    far.speak(1)
    async with Peer(0, loopback=True, on_packet=heard.append, clock=time.monotonic) as ours:
        await far.accept(await ours.answer(await far.offer()))
        await ours.connected(5)
        await until(lambda: len(heard) > 3)
        await ours.offer(spare=1)
        assert ours.roll_back() and not ours.roll_back()
        far.speak(2)
        await far.accept(await ours.answer(await far.offer()))
        await until(lambda: {r.payload[1] for r in heard} == {1, 2})
        await ours.accept(await far.answer(await ours.offer(spare=1)))
        numbers = [r.sequence for r in heard if r.payload[1] == 1]
    assert [line.mid for line in ours.lines] == ["0", "1", "2"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
