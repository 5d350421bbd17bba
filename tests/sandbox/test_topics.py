"""What the four topics say, as far as Voki documents it."""

ANA = {"name": "Ana", "role": "attendant", "speech": "pt"}


async def test_the_others_hear_of_a_joiner_who_does_not_hear_of_himself(world):
    """`participant_joined` reaches everybody else."""
    await world.start()
    await world.make()
    topic = f"call:{world.call['call_id']}"
    first, second = await world.client(), await world.client(world.ready["tokens"]["attendant"])
    await first.join(topic)
    await second.join(topic)
    joined = await first.event("participant_joined")
    assert (joined["name"], joined["role"], second.events("participant_joined")) == (
        "Attendant",
        "attendant",
        [],
    )


async def test_a_bot_may_be_announced_to_itself(world):
    """With `announce_self` it hears of its own coming."""
    await world.start()
    await world.make(switches={"announce_self": True})
    bot = await world.bot()
    assert (await bot.client.event("participant_joined"))["name"] == "Bot"


async def test_nobody_present_is_named_at_the_join(world):
    """The join reply is empty unless `snapshot` is on."""
    await world.start()
    await world.make()
    assert (await world.bot()).joined["response"] == {}


async def test_a_snapshot_is_a_switch(world):
    """With `snapshot` the reply lists who is there."""
    await world.start()
    await world.make(switches={"snapshot": True})
    await world.bot()
    second = await world.client(world.ready["tokens"]["attendant"])
    _, reply = await second.join(f"call:{world.call['call_id']}")
    assert [p["name"] for p in reply["response"]["participants"]] == ["Bot"]


async def test_a_leave_is_announced(world):
    """`participant_left` names the user."""
    await world.start()
    await world.make()
    bot, other = await world.bot(), await world.client(world.ready["tokens"]["attendant"])
    ref, _ = await other.join(bot.topic)
    await other.push(bot.topic, "phx_leave", {}, ref)
    joined = await bot.client.event("participant_joined")
    assert await bot.client.event("participant_left") == {"user_id": joined["user_id"]}


async def test_the_end_of_a_call_is_announced_and_the_topic_stays_open(world):
    """`call_ended` comes with its reason, and no `phx_close` by default."""
    await world.start()
    await world.make()
    bot = await world.bot()
    await world.control("POST", f"/calls/{world.call['call_id']}/end", reason="completed")
    assert await bot.client.event("call_ended") == {"reason": "completed"}
    ref = await bot.client.push(bot.topic, "mute", {"type": "audio", "muted": True}, bot.join_ref)
    assert (await bot.client.reply(ref))["status"] == "ok"


async def test_the_topic_may_close_at_the_end(world):
    """With `close_on_end` the `phx_close` follows `call_ended`."""
    await world.start()
    await world.make(switches={"close_on_end": True})
    bot = await world.bot()
    await world.control("POST", f"/calls/{world.call['call_id']}/end", reason="completed")
    await bot.client.event("phx_close")
    assert [f[3] for f in bot.client.frames[-2:]] == ["call_ended", "phx_close"]


async def test_a_queued_call_cannot_be_joined_by_staff(world):
    """Only after it was assigned is the topic open."""
    await world.start()
    await world.make(status="queued")
    bot = await world.bot()
    assert bot.joined["response"] == {"reason": "unauthorized"}


async def test_an_unknown_call_is_not_found(world):
    """The join of a call that does not exist is refused."""
    await world.start()
    assert (await world.bot("nope")).joined["response"] == {"reason": "not_found"}


async def test_silent_pushes_get_no_reply(world):
    """With `silent_pushes` a mute is taken without a word."""
    await world.start()
    await world.make(switches={"silent_pushes": True})
    bot = await world.bot()
    ref = await bot.client.push(bot.topic, "mute", {"type": "audio", "muted": True}, bot.join_ref)
    await bot.client.send(None, "beat", "phoenix", "heartbeat", {})
    await bot.client.reply("beat")
    member = world.sandbox.platform.rooms[world.call["call_id"]].members[world.sandbox._bot.user_id]
    await world.until(lambda: member.muted == {"audio": True})
    assert bot.client._reply(ref) is None


async def test_a_queue_tells_the_life_of_a_waiting_call(world):
    """From the customer's coming to the assignment, in the documented events."""
    await world.start()
    client = await world.client()
    await client.join(f"queue:{world.ready['department_id']}")
    await world.make({**ANA, "role": "customer", "joins": 999}, status="queued")
    await world.control("POST", f"/calls/{world.call['call_id']}/assign")
    await client.event("call_assigned")
    names = [f[3] for f in client.frames if f[3] != "phx_reply"]
    assert names == ["customer_joined", "queue_update", "customer_left", "queue_update", "call_assigned"]


async def test_presence_shows_who_is_online(world):
    """State for the joiner, diffs for all, with the documented meta fields."""
    await world.start()
    topic = f"presence:{world.ready['department_id']}"
    first, second = await world.client(), await world.client(world.ready["tokens"]["attendant"])
    await first.join(topic)
    ref, _ = await second.join(topic)
    await second.event("presence_state")
    await second.push(topic, "phx_leave", {}, ref)
    left = await first.event("presence_diff", count=3)
    ((_, gone),) = left["leaves"].items()
    assert {"name", "status", "current_call_id", "phx_ref"} == set(gone["metas"][0])


async def test_an_assignment_is_notified_to_its_user_alone(world):
    """`notification:` is that user's; the notification names the call."""
    await world.start()
    await world.make({**ANA, "joins": 999}, status="queued")
    client, me = await world.client(), world.sandbox._bot.user_id
    _, refused = await client.join("notification:somebody")
    await client.join(f"notification:{me}")
    await world.control("POST", f"/calls/{world.call['call_id']}/assign", user_id=me)
    told = await client.event("new_notification")
    assert (refused["status"], told["data"]) == ("error", {"call_id": world.call["call_id"]})


async def test_anything_can_be_broadcast(world):
    """The control API says what a test wants said."""
    await world.start()
    await world.make()
    bot = await world.bot()
    await world.control(
        "POST", "/broadcast", topic=bot.topic, event="whisper_start", payload={"supervisor_id": "x"}
    )
    assert await bot.client.event("whisper_start") == {"supervisor_id": "x"}
