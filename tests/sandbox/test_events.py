"""Every event that Voki documents happens here, one test each: by what people do, or on request."""

import pytest

ANA = {"name": "Ana", "role": "attendant", "tone": 300}
CARLOS = {"name": "Carlos", "role": "customer", "tone": 500}


@pytest.fixture
async def queue(world):
    """A subscriber of the department's queue."""
    await world.start()
    client = await world.client()
    await client.join(f"queue:{world.ready['department_id']}")
    return client


@pytest.fixture
async def waiting(world, queue):
    """The REST answer to a customer who took the access link and waits."""
    token = next(iter(world.sandbox.platform.departments.values())).token
    return (await world.api("POST", f"/api/v1/call/{token}/join", name="Carlos"))["data"]


@pytest.fixture
async def desk(world):
    """A subscriber of the department's presence, who was alone."""
    await world.start()
    client = await world.client()
    await client.join(f"presence:{world.ready['department_id']}")
    await client.event("presence_diff")
    return client


@pytest.fixture
async def phone(world):
    """A subscriber of the bot's own notifications, with its user id."""
    await world.start()
    client = await world.client()
    client.user_id = world.sandbox._bot.user_id
    await client.join(f"notification:{client.user_id}")
    return client


@pytest.fixture
async def bot(world):
    """A bot in an empty call."""
    await world.start()
    await world.make()
    return await world.bot()


# ---------------------------------------------------------------- call:


async def test_signal(bot):
    """An offer is answered by the SFU."""
    await bot.offer()
    assert (await bot.client.event("signal"))["type"] == "answer"


async def test_ice_candidate(bot):
    """The SFU's candidates come with all keys."""
    await bot.offer()
    assert {"candidate", "sdpMid", "sdpMLineIndex"} <= set(await bot.client.event("ice_candidate"))


async def test_participant_joined(world, bot):
    """Somebody comes."""
    person = await world.control("POST", f"/calls/{world.call['call_id']}/people", **ANA)
    expected = {"user_id": person["user_id"], "name": "Ana", "role": "attendant"}
    assert await bot.client.event("participant_joined") == expected


async def test_participant_left(world, bot):
    """Somebody goes."""
    path = f"/calls/{world.call['call_id']}/people"
    person = await world.control("POST", path, **ANA)
    await bot.client.event("participant_joined")
    await world.control("DELETE", f"{path}/{person['id']}")
    assert await bot.client.event("participant_left") == {"user_id": person["user_id"]}


async def test_call_ended(world, bot):
    """The call ends, with the reason it is ended for."""
    await world.api("POST", f"/api/v1/calls/{world.call['call_id']}/complete")
    assert await bot.client.event("call_ended") == {"reason": "completed"}


@pytest.mark.parametrize("mode", ["monitor", "whisper", "barge"])
async def test_supervision(world, bot, mode):
    """`monitor_start`, `whisper_start` and `barge_start` name the supervisor."""
    path = f"/calls/{world.call['call_id']}/supervision"
    told = await world.control("POST", path, mode=mode, name="Maria")
    expected = {"supervisor_id": told["user_id"], "supervisor_name": "Maria"}
    assert await bot.client.event(f"{mode}_start") == expected


# ---------------------------------------------------------------- queue:


async def test_customer_joined(queue, waiting):
    """Who takes the access link is announced, with the place in the queue."""
    expected = {"call_id": waiting["call_id"], "customer_name": "Carlos", "position": 1, "queue_size": 1}
    assert await queue.event("customer_joined") == expected


async def test_customer_left_assigned(world, queue, waiting):
    """Who is served leaves the queue."""
    await world.api("POST", f"/api/v1/calls/{waiting['call_id']}/assign")
    assert await queue.event("customer_left") == {"call_id": waiting["call_id"], "reason": "assigned"}


async def test_customer_left_timeout(world, queue, waiting):
    """Who is missed leaves the queue."""
    await world.control("POST", f"/calls/{waiting['call_id']}/end", reason="missed")
    assert await queue.event("customer_left") == {"call_id": waiting["call_id"], "reason": "timeout"}


async def test_customer_left_cancelled(world, queue, waiting):
    """Who gives up, by leaving the call's channel, leaves the queue."""
    customer, topic = await world.client(waiting["websocket_token"]), f"call:{waiting['call_id']}"
    ref, _ = await customer.join(topic)
    await customer.push(topic, "phx_leave", {}, ref)
    assert await queue.event("customer_left") == {"call_id": waiting["call_id"], "reason": "cancelled"}


async def test_call_assigned(world, queue, waiting):
    """The department hears whose call it is now."""
    await world.api("POST", f"/api/v1/calls/{waiting['call_id']}/assign")
    expected = {"call_id": waiting["call_id"], "user_id": world.sandbox._bot.user_id, "user_name": "Bot"}
    assert await queue.event("call_assigned") == expected


async def test_queue_update(world, queue, waiting):
    """Each change of the queue is followed by its state."""
    await world.api("POST", f"/api/v1/calls/{waiting['call_id']}/assign")
    told = [await queue.event("queue_update", count) for count in (1, 2)]
    assert [(each["queue_size"], each["online_agents"]) for each in told] == [(1, 0), (0, 0)]


# ---------------------------------------------------------------- presence:


async def test_presence_state(world, desk):
    """Whoever joins gets everybody's metas."""
    agent = await world.client(world.ready["tokens"]["attendant"])
    await agent.join(f"presence:{world.ready['department_id']}")
    state = await agent.event("presence_state")
    assert sorted(entry["metas"][0]["name"] for entry in state.values()) == ["Attendant", "Bot"]


async def test_presence_diff_of_an_agent(world, desk):
    """An agent is online and goes again, without a socket of his own."""
    user_id = (await world.control("POST", "/users", name="Ana", role="attendant"))["user_id"]
    path = f"/departments/{world.ready['department_id']}/agents/{user_id}"
    await world.control("PUT", path, status="away")
    await world.control("DELETE", path)
    came, gone = [await desk.event("presence_diff", count) for count in (2, 3)]
    assert (came["joins"][user_id]["metas"][0]["status"], list(gone["leaves"])) == ("away", [user_id])


async def test_presence_diff_of_a_status(world, desk):
    """A change of status is a leave and a join in one."""
    me = world.sandbox._bot.user_id
    await world.control("PUT", f"/users/{me}/status", status="away")
    diff = await desk.event("presence_diff", 2)
    statuses = [diff[side][me]["metas"][0]["status"] for side in ("leaves", "joins")]
    assert statuses == ["online", "away"]


async def test_presence_diff_of_a_call(world, desk):
    """Who is given a call is busy with it, and online again after it."""
    me, call = world.sandbox._bot.user_id, await world.make(CARLOS, status="queued")
    await world.control("POST", f"/calls/{call['call_id']}/assign", user_id=me)
    await world.control("POST", f"/calls/{call['call_id']}/end")
    metas = [(await desk.event("presence_diff", count))["joins"][me]["metas"][0] for count in (2, 3)]
    told = [(meta["status"], meta["current_call_id"]) for meta in metas]
    assert told == [("busy", call["call_id"]), ("online", None)]


# ---------------------------------------------------------------- notification:


async def test_new_notification_of_an_assignment(world, phone):
    """Who is given a call is told which."""
    call = await world.make({**CARLOS, "joins": 999}, status="queued")
    await world.control("POST", f"/calls/{call['call_id']}/assign", user_id=phone.user_id)
    told = await phone.event("new_notification")
    assert (told["type"], told["data"]) == ("call_assigned", {"call_id": call["call_id"]})


@pytest.mark.parametrize("kind", ["call_assigned", "appointment_reminder", "system"])
async def test_new_notification_on_request(world, phone, kind):
    """Any documented type can be sent."""
    said = {"type": kind, "title": "Title", "body": "Text", "data": {"x": 1}}
    await world.control("POST", f"/users/{phone.user_id}/notifications", **said)
    assert await phone.event("new_notification") == said


async def test_appointment_reminder(world, phone):
    """An appointment is made, and reminded of when its time comes."""
    made = await world.control(
        "POST", f"/users/{phone.user_id}/appointments", title="Follow-up", minutes_until=5, after=0.05
    )
    told = await phone.event("appointment_reminder")
    assert (told, told["title"], told["minutes_until"]) == (made, "Follow-up", 5)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/users/nobody/notifications", {}, 404),
        ("POST", "/users/ME/notifications", {"type": "gossip"}, 422),
        ("POST", "/users/ME/appointments", {"after": -1}, 422),
        ("PUT", "/users/ME/status", {"status": "asleep"}, 422),
        ("PUT", "/departments/nowhere/agents/ME", {}, 422),
        ("POST", "/calls/CALL/supervision", {"mode": "shout"}, 422),
    ],
)
async def test_a_mistake_is_refused(world, bot, method, path, body, status):
    """What cannot be done is said."""
    path = path.replace("ME", world.sandbox._bot.user_id).replace("CALL", world.call["call_id"])
    async with world.http.request(method, f"/sandbox{path}", json=body) as response:
        assert response.status == status
