"""What goes wrong on demand, as a bot sees it."""

import pytest

from voki_bots.sandbox.options import Switches
from voki_bots.sandbox.paths import close_connection
from voki_bots.sandbox.sdp import ufrag_of

ANA = {"name": "Ana", "role": "attendant", "speech": "pt"}


async def attended(world, **values):
    await world.start(switches=Switches().changed(values))
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    return bot


async def fault(world, name, **settings):
    await world.control("POST", f"/calls/{world.call['call_id']}/faults", name=name, **settings)


async def bots(world):
    return (await world.control("GET", f"/calls/{world.call['call_id']}"))["bots"]


async def test_drop_socket_cuts_without_a_close_frame(world):
    """The client sees 1006."""
    bot = await attended(world)
    await fault(world, "drop_socket")
    await world.until(lambda: bot.client.code is not None)
    assert bot.client.code == 1006


async def test_expire_token_closes_and_refuses_the_old_token(world):
    """The socket goes with 1001, and REST no longer takes the token."""
    bot = await attended(world)
    await fault(world, "expire_token")
    await world.until(lambda: bot.client.code is not None)
    await world.api("GET", "/api/v1/users/me")
    assert (bot.client.code, world.status) == (1001, 401)


async def test_after_expire_token_a_refresh_works(world):
    """Only access tokens end; the refresh token gives a good one."""
    await world.start()
    await world.make()
    user = world.sandbox.platform.accounts.users[world.sandbox._bot.user_id]
    refresh = world.sandbox.platform.accounts.refresh_token(user)
    world.sandbox.platform.expire({user.user_id})
    fresh = await world.api("POST", "/api/auth/refresh", refresh_token=refresh)
    await world.api("GET", "/api/v1/users/me", token=fresh["data"]["access_token"])
    assert world.status == 200


async def test_crash_channel_leaves_the_topic_unjoined(world):
    """After `phx_error` a push is answered `unmatched topic`, and the socket lives."""
    bot = await attended(world)
    await fault(world, "crash_channel")
    assert await bot.client.event("phx_error") == {"reason": "channel_crash"}
    ref = await bot.client.push(bot.topic, "mute", {"type": "audio", "muted": True}, bot.join_ref)
    assert (await bot.client.reply(ref))["response"] == {"reason": "unmatched topic"}


async def test_media_survives_a_crashed_channel(world):
    """The leg is kept for the one who comes back."""
    bot = await attended(world)
    await fault(world, "crash_channel")
    before = len(bot.heard["0"])
    await bot.hears(before + 30)
    assert bot.pc.connectionState == "connected"


async def test_a_rejoin_keeps_the_leg(world):
    """Joining again without an offer changes nothing about media."""
    bot = await attended(world)
    await fault(world, "crash_channel")
    await bot.client.event("phx_error")
    await bot.join()
    await bot.hears(len(bot.heard["0"]) + 20)
    assert (await bots(world))[0]["connections"] == 1


@pytest.mark.parametrize("close", [False, True])
async def test_kill_ice_silences_the_path(world, close):
    """Nothing arrives any more, and nobody says so."""
    bot = await attended(world)
    await fault(world, "kill_ice", close=close)
    room = world.sandbox.platform.rooms[world.call["call_id"]]
    (person,) = room.people.values()
    before, at = len(bot.heard["0"]), len(person.sent)
    await world.until(lambda: len(person.sent) > at + 25)
    assert (len(bot.heard["0"]) - before <= 2, bot.pc.connectionState) == (True, "connected")


async def test_after_kill_ice_a_new_offer_gets_a_new_connection(world):
    """An offer on the same channel is answered by a fresh peer, and media flows again."""
    bot = await attended(world)
    await fault(world, "kill_ice")
    bot.heard.clear()
    await bot.offer()
    await bot.hears(20)
    assert (await bots(world))[0]["connections"] == 2


async def test_ice_restart_offers_other_credentials(world):
    """The bot that answers with a new connection hears again."""
    # A stock client can answer no RSA certificate, and tells no end of candidates.
    bot = await attended(world, rsa_certificate=False, waits_for_end=False)
    known, before = len(bot.client.events("signal")), ufrag_of(bot.sdp)
    bot._following.cancel()
    old, _ = bot.pc, bot.heard.clear()
    await bot.listen(known)
    await fault(world, "ice_restart")
    await bot.hears(20)
    await close_connection(old)
    assert ufrag_of(bot.sdp) != before


async def test_freeze_media_stops_for_a_while(world):
    """Frozen packets are never sent; the stream goes on with later ones."""
    bot = await attended(world)
    await fault(world, "freeze_media", seconds=0.4)
    before = len(bot.heard["0"])
    await bot.hears(before + 20)
    steps = [b.timestamp - a.timestamp for a, b in zip(bot.heard["0"], bot.heard["0"][1:], strict=False)]
    assert max(steps) > 10 * 960


async def test_a_muted_person_sends_nothing(world):
    """Time goes on while nothing is sent: the timestamps jump, the sequence does not."""
    bot = await attended(world)
    (person,) = world.call["people"]
    await fault(world, "mute", target=person["id"])
    await fault(world, "mute", target=person["id"], muted=False, after=0.3)
    await bot.hears(len(bot.heard["0"]) + 30)
    jump = max(
        zip(bot.heard["0"], bot.heard["0"][1:], strict=False), key=lambda p: p[1].timestamp - p[0].timestamp
    )
    assert jump[1].timestamp - jump[0].timestamp > 5 * 960
    assert (jump[1].sequence_number - jump[0].sequence_number) % 65536 == 1


async def test_refuse_join_names_its_reason(world):
    """The join reply is an error with the reason."""
    await world.start()
    await world.make()
    await fault(world, "refuse_join")
    bot = await world.bot()
    assert bot.joined == {"status": "error", "response": {"reason": "unauthorized"}}


async def test_slow_join_holds_up_the_whole_socket(world):
    """A heartbeat sent during a slow join is answered after it."""
    await world.start()
    await world.make()
    await fault(world, "slow_join", seconds=0.2)
    client = await world.client()
    await client.send("1", "1", f"call:{world.call['call_id']}", "phx_join", {})
    await client.send(None, "2", "phoenix", "heartbeat", {})
    await client.reply("2")
    assert [f[1] for f in client.frames[:2]] == ["1", "2"]


@pytest.mark.parametrize("body", [{"name": "nope"}, {"name": "lose", "p": "x"}, {"name": "kill_ice", "q": 1}])
async def test_an_impossible_fault_is_refused(world, body):
    """A mistyped fault is one sentence and 422."""
    await world.start()
    await world.make()
    path = f"/sandbox/calls/{world.call['call_id']}/faults"
    async with world.http.post(path, json=body) as response:
        assert response.status == 422
