"""Janus' VideoRoom as the SFU of our Peers."""

from __future__ import annotations

from tests.oracles.janus.conftest import VideoRoom


async def test_several_feeds_are_heard_on_their_lines(room: VideoRoom) -> None:
    """Three Peers publish a tone each; a fourth hears each on a line of its own."""
    feeds = [await room.publish(hertz) for hertz in (400, 700, 1100)]
    ears = await room.subscribe(*feeds)
    assert len(await ears.hears(400, 700, 1100)) == 3


async def test_a_feed_that_comes_later_gets_a_line(room: VideoRoom) -> None:
    """Janus offers anew when another feed is subscribed to, and both are heard."""
    ears = await room.subscribe(await room.publish(400))
    await ears.hears(400)
    await ears.follow("subscribe", streams=[(await room.publish(700)).stream()])
    assert len(await ears.hears(400, 700)) == 2


async def test_a_line_that_is_used_again_is_heard(room: VideoRoom) -> None:
    """A feed goes and another takes its inactive line, with another SSRC: stock aiortc goes deaf here."""
    first, second, third = [await room.publish(hertz) for hertz in (400, 700, 1100)]
    ears = await room.subscribe(first, second)
    await ears.hears(400, 700)
    await ears.follow("unsubscribe", streams=[second.stream()])
    await ears.hears(400)
    await ears.follow("subscribe", streams=[third.stream()])
    await ears.hears(400, 1100)
    assert len(ears.peer.lines) == 2


async def test_a_feed_that_is_switched_is_heard(room: VideoRoom) -> None:
    """Janus puts another feed on the same line without an offer."""
    first, second = [await room.publish(hertz) for hertz in (400, 700)]
    ears = await room.subscribe(first)
    await ears.hears(400)
    line = ears.peer.lines[0].mid
    await ears.follow("switch", streams=[second.stream() | {"sub_mid": line}])
    assert len(await ears.hears(700)) == 1
