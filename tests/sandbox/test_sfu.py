"""Who hears what through the SFU, judged by a peer made of aiohttp and aiortc alone."""

import itertools
import re
import time

import numpy as np

ANA = {"name": "Ana", "role": "attendant", "speech": "pt"}
CARLOS = {"name": "Carlos", "role": "customer", "speech": "pt"}
LISTENER = {"name": "Rui", "role": "supervisor", "listens": True}


async def sent(world, index):
    person = world.call["people"][index]["id"]
    return world.decode_file(
        await world.control("GET", f"/calls/{world.call['call_id']}/people/{person}/sent")
    )


async def shown(world):
    return await world.control("GET", f"/calls/{world.call['call_id']}")


def heard(world, packets):
    return world.decode([(p.timestamp, p.payload) for p in packets])


async def test_a_bot_receives_what_a_person_sent(world):
    """The packets that arrive decode to the very sound the person sent."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(80)
    (packets,) = bot.heard.values()
    assert world.correlation(heard(world, packets), await sent(world, 0)) > 0.9


async def test_two_voices_come_on_two_lines(world):
    """Each line carries one person's voice, and the other is absent from it."""
    await world.start()
    await world.make(ANA, CARLOS)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(80, lines=2)
    first, second = [heard(world, p) for p in bot.heard.values()]
    voices = [await sent(world, 0), await sent(world, 1)]
    matches = [[round(world.correlation(line, voice), 2) for voice in voices] for line in (first, second)]
    assert sorted(matches, reverse=True)[0][0] > 0.9 > 0.3 > sorted(matches, reverse=True)[0][1]


async def test_the_first_voice_takes_the_offered_line(world):
    """A publisher who is there before the answer is sent on the line the bot offered."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    assert (list(bot.heard), bot.offers) == (["0"], [])


async def test_a_later_joiner_adds_a_line_by_offer(world):
    """The SFU re-offers with one more line, which names a stream but no user."""
    await world.start()
    await world.make({**ANA, "joins": "after_bot"})
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    added = bot.offers[-1].split("m=")[-1]
    assert re.search(r"a=sendonly[\s\S]*a=msid:[A-Z2-7]{32} [A-Z2-7]{32}\r\na=ssrc:\d+ msid:", added)


async def test_user_ids_in_msid_are_a_switch(world):
    """With `msid_user_ids` the stream id is the publisher's user id."""
    await world.start()
    await world.make(ANA, switches={"msid_user_ids": True})
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    assert f"a=msid:{world.call['people'][0]['user_id']} " in bot.sdp


async def test_no_audio_level_is_offered(world):
    """Like an Elixir SFU, ours negotiates MID and no audio level."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    assert ("sdes:mid" in bot.sdp, "audio-level" in bot.sdp) == (True, False)


async def test_the_line_of_somebody_who_left_goes_inactive(world):
    """After a leave comes an offer in which that line carries nothing."""
    await world.start()
    await world.make({**ANA, "joins": "after_bot"})
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    await world.control("DELETE", f"/calls/{world.call['call_id']}/people/{world.call['people'][0]['id']}")
    await world.until(lambda: len(bot.offers) == 2)
    assert ("a=sendonly" in bot.sdp, "a=msid:" in bot.sdp, "a=ssrc:" in bot.sdp) == (False, False, False)


async def test_a_line_may_be_reused_with_the_same_ssrc(world):
    """With `reuse_lines` the next joiner comes on the line of the one who left, under another msid."""
    await world.start()
    await world.make({**ANA, "joins": "after_bot", "leaves": 0.3}, switches={"reuse_lines": True})
    bot = await world.bot()
    await bot.offer()
    await world.until(lambda: len(bot.offers) == 2)
    await world.control("POST", f"/calls/{world.call['call_id']}/people", **CARLOS)
    await world.until(lambda: len(bot.offers) == 3)
    assert re.findall(r"a=ssrc:\d+", bot.offers[0])[-1:] == re.findall(r"a=ssrc:\d+", bot.offers[2])


async def test_sequence_numbers_are_our_own_and_without_holes(world):
    """A forwarded stream has consecutive numbers, and the publisher's steps of 960 ticks."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(30)
    (packets,) = bot.heard.values()
    steps = {
        ((b.sequence_number - a.sequence_number) % 65536, (b.timestamp - a.timestamp) % 2**32)
        for a, b in itertools.pairwise(packets)
    }
    assert steps == {(1, 960)}


async def test_lost_packets_leave_holes(world):
    """What the fault `lose` takes away is missing in the sequence, not renumbered."""
    await world.start()
    await world.make(ANA, switches={"lose": 0.3})
    bot = await world.bot()
    await bot.offer()
    await bot.hears(30)
    (packets,) = bot.heard.values()
    steps = {
        ((b.sequence_number - a.sequence_number) % 65536, (b.timestamp - a.timestamp) % 2**32)
        for a, b in itertools.pairwise(packets)
    }
    assert len(steps) > 1 and all(960 * n == t for n, t in steps)


async def test_sender_reports_map_timestamps_to_the_wall_clock(world):
    """A sender report puts the RTP timestamp where the packets' arrival says, within 50 ms."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(1)
    receiver, reports, arrivals = bot.pc.getTransceivers()[0].receiver, [], []

    async def take(packet, arrival_time_ms):
        arrivals.append((time.time(), packet.timestamp))

    async def note(packet):
        reports.extend([packet.sender_info] if hasattr(packet, "sender_info") else [])

    receiver._handle_rtp_packet, receiver._handle_rtcp_packet = take, note
    await world.until(lambda: reports and len(arrivals) > 50)
    unix = reports[0].ntp_timestamp / 2**32 - 2_208_988_800
    earliest = min(at - timestamp / 48_000 for at, timestamp in arrivals)
    assert abs(unix - reports[0].rtp_timestamp / 48_000 - earliest) < 0.05


async def test_a_person_hears_a_speaking_bot(world):
    """What a bot sends reaches people, and they can tell it came from the bot."""
    await world.start()
    await world.make(LISTENER)
    await world.up()
    speaker = world.sandbox.platform.rooms[world.call["call_id"]]
    await world.control("POST", f"/calls/{world.call['call_id']}/people", **{**CARLOS, "tone": 440})
    listener = next(iter(speaker.people.values()))
    await world.until(lambda: any(h.packets > 55 for h in listener.heard.values()))
    (line,) = listener.heard.values()
    samples = world.decode_file(listener.heard_file(line))[4800:52800]
    assert abs(int(np.abs(np.fft.rfft(samples)).argmax()) - 440) <= 1


async def test_the_server_may_offer_first(world):
    """With `server_offers` the SFU offers, waits for the answer, and media flows all the same."""
    await world.start(switches=switches(server_offers=True, rsa_certificate=False, waits_for_end=False))
    await world.make(ANA)
    bot = await world.bot()
    await bot.listen()
    await bot.hears(20)
    assert bot.offers[0].count("m=audio") >= 1


def switches(**values):
    from voki_bots.sandbox.options import Switches

    return Switches().changed(values)


async def test_an_offer_against_an_outstanding_one_is_ignored(world):
    """Glare is the client's to resolve: its offer gets no answer."""
    await world.start(switches=switches(server_offers=True, rsa_certificate=False, waits_for_end=False))
    await world.make(ANA)
    bot = await world.bot()
    await bot.client.event("signal")
    await bot.client.push(bot.topic, "signal", {"type": "offer", "sdp": "v=0\r\n"}, bot.join_ref)
    room = world.sandbox.platform.rooms[world.call["call_id"]]
    await world.until(lambda: room.members[world.sandbox._bot.user_id].leg.glares == 1)
    assert len(bot.client.events("signal")) == 1


async def test_media_survives_the_loss_of_the_socket(world):
    """Packets keep coming while the channel is away."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    await bot.client.close()
    await bot.hears(60)
    assert bot.pc.connectionState == "connected"


async def test_media_ends_when_the_grace_is_over(world):
    """A leg whose channel does not come back is closed."""
    await world.start(leg_grace=0.2)
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    await bot.client.close()
    await world.until(lambda: bot.pc.connectionState == "closed")


async def test_an_rsa_certificate_needs_its_ciphers(world):
    """With `rsa_certificate` a stock aiortc client in the role of the DTLS client does not get through."""
    await world.start(switches=switches(server_offers=True, waits_for_end=False))
    await world.make()
    bot = await world.bot()
    await bot.listen()
    room = world.sandbox.platform.rooms[world.call["call_id"]]
    leg = room.members[world.sandbox._bot.user_id].leg
    await world.until(lambda: leg._pc.connectionState == "failed")
    assert not leg.connected


async def test_an_rsa_certificate_does_not_disturb_an_offerer(world):
    """A client that offers is the DTLS server, and uses its own certificate's ciphers."""
    await world.start(switches=switches(rsa_certificate=True))
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    assert bot.pc.connectionState == "connected"


async def test_candidates_may_trickle_in_before_the_offer(world):
    """An SDP without candidates connects by those that were pushed."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer(trickle=True)
    await bot.hears(10)
    assert bot.pc.connectionState == "connected"


async def test_our_candidates_are_pushed_too(world):
    """`ice_candidate` carries all four keys."""
    await world.start()
    await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    candidate = await bot.client.event("ice_candidate")
    assert (set(candidate), candidate["candidate"].split()[4]) == (
        {"candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"},
        "127.0.0.1",
    )


async def test_spare_and_video_lines_are_answered_inactive(world):
    """Only the first audio line is used; the rest carries nothing."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer(extra=("audio", "video"))
    await bot.hears(10)
    assert re.findall("a=(sendonly|inactive|recvonly)", bot.sdp) == ["sendonly", "inactive", "inactive"]


async def test_a_new_connection_of_the_client_replaces_the_old(world):
    """An offer with new ICE credentials gets a fresh peer, and all voices again."""
    await world.start()
    await world.make(ANA, CARLOS)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(5, lines=2)
    bot.heard.clear()
    await bot.offer()
    await bot.hears(5, lines=2)
    assert (await shown(world))["bots"][0]["connections"] == 2


async def test_a_client_may_offer_again_on_the_same_connection(world):
    """A re-offer with the same credentials is answered, and media goes on."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(5)
    await bot.reoffer()
    await world.until(lambda: bot.sdp.count("m=audio") == 2)
    await bot.hears(len(bot.heard["0"]) + 10)
    assert (await shown(world))["bots"][0]["connections"] == 1


async def test_people_join_one_after_another(world):
    """The second person enters only when the first one's media is up, plus the spacing."""
    await world.start(join_spacing=0.2)
    await world.make(ANA, CARLOS)
    await world.up()
    first, second = (await shown(world))["people"]
    assert second["joined_at"] - first["first_packet_at"] > 0.15


async def test_the_sandbox_counts_what_it_forwards(world):
    """By person, packets forwarded to the bot, and on which line."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(10)
    (seen,) = (await shown(world))["bots"]
    person = world.call["people"][0]["id"]
    assert (seen["forwarded"][person] >= 10, seen["lines"]) == (True, {"0": person})


async def test_a_call_that_ended_answers_no_offer(world):
    """After the end there is no media to be had."""
    await world.start()
    await world.make(ANA)
    await world.up()
    bot = await world.bot()
    await bot.offer()
    await bot.hears(5)
    await world.control("POST", f"/calls/{world.call['call_id']}/end")
    await world.until(lambda: bot.pc.connectionState == "closed")
    answers = len(bot.client.events("signal"))
    ref = await bot.client.push(bot.topic, "signal", {"type": "offer", "sdp": bot.sdp}, bot.join_ref)
    await bot.client.reply(ref)
    assert len(bot.client.events("signal")) == answers
