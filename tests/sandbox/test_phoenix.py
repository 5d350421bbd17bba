"""The frames of a Phoenix server, in their order (protocol notes, section 3)."""

import pytest

UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}
OK = {"status": "ok", "response": {}}


async def exchange(world, *sent, topic=True, **query):
    """Send frames one after another behind a heartbeat each, and return what came without those."""
    await world.start()
    await world.make()
    client = await world.client(**query)
    for number, frame in enumerate(sent):
        await client.send(
            *[(c.replace("CALL", world.call["call_id"]) if isinstance(c, str) else c) for c in frame]
        )
        await client.send(None, f"beat{number}", "phoenix", "heartbeat", {})
        await client.reply(f"beat{number}")
        await world.until(lambda: True)
    marker = len(sent)
    await client.send(None, f"beat{marker}", "phoenix", "heartbeat", {})
    await client.reply(f"beat{marker}")
    shorten = [
        [(c.replace(world.call["call_id"], "CALL") if isinstance(c, str) else c) for c in f]
        for f in client.frames
    ]
    return [f for f in shorten if not str(f[1]).startswith("beat")]


JOIN = ("1", "1", "call:CALL", "phx_join", {})
JOINED = ["1", "1", "call:CALL", "phx_reply", OK]
MUTE = {"type": "audio", "muted": True}


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ([(None, "1", "phoenix", "nope", {})], [[None, "1", "phoenix", "phx_reply", UNMATCHED]]),
        ([JOIN], [JOINED]),
        ([("1", "1", "nosuch:1", "phx_join", {})], [[None, "1", "nosuch:1", "phx_reply", UNMATCHED]]),
        ([("9", "10", "call:CALL", "mute", MUTE)], [[None, "10", "call:CALL", "phx_reply", UNMATCHED]]),
        ([("1", "2", "call:CALL", "phx_leave", {})], [["1", "2", "call:CALL", "phx_reply", OK]]),
        ([JOIN, ("1", "2", "call:CALL", "mute", MUTE)], [JOINED, ["1", "2", "call:CALL", "phx_reply", OK]]),
        ([JOIN, (None, "2", "call:CALL", "mute", MUTE)], [JOINED, ["1", "2", "call:CALL", "phx_reply", OK]]),
        ([JOIN, ("0", "2", "call:CALL", "mute", MUTE)], [JOINED]),
        ([JOIN, ("0", "2", "call:CALL", "phx_leave", {})], [JOINED]),
        (
            [JOIN, ("1", "2", "call:CALL", "phx_leave", {})],
            [JOINED, ["1", "2", "call:CALL", "phx_reply", OK], ["1", "1", "call:CALL", "phx_close", {}]],
        ),
        (
            [JOIN, ("2", "2", "call:CALL", "phx_join", {})],
            [JOINED, ["2", "2", "call:CALL", "phx_reply", OK], ["1", "1", "call:CALL", "phx_close", {}]],
        ),
        (
            [JOIN, ("1", "2", "call:CALL", "no_such_event", {})],
            [JOINED, ["1", "1", "call:CALL", "phx_error", {"reason": "channel_crash"}]],
        ),
        (
            [(7, 7, "call:CALL", "phx_join", {}), (7, 8, "call:CALL", "mute", MUTE)],
            [[7, 7, "call:CALL", "phx_reply", OK], [7, 8, "call:CALL", "phx_reply", OK]],
        ),
        (
            [(None, "1", "call:CALL", "phx_join", {}), (None, "3", "call:CALL", "phx_leave", {})],
            [
                [None, "1", "call:CALL", "phx_reply", OK],
                ["1", "3", "call:CALL", "phx_reply", OK],
                [None, None, "call:CALL", "phx_close", {}],
            ],
        ),
    ],
)
async def test_frames(world, sent, received):
    """What is sent is answered as real Phoenix answers it, ref by ref."""
    assert await exchange(world, *sent) == received


async def test_a_crash_swallows_what_is_queued_behind_it(world):
    """A push in the same burst as one that crashes never gets a reply."""
    await world.start()
    await world.make()
    client = await world.client()
    ref, _ = await client.join(f"call:{world.call['call_id']}")
    await client.push(f"call:{world.call['call_id']}", "no_such_event", {}, ref)
    lost = await client.push(f"call:{world.call['call_id']}", "mute", MUTE, ref)
    await client.event("phx_error")
    await client.join(f"call:{world.call['call_id']}")
    assert client._reply(lost) is None


async def test_a_candidate_without_its_keys_crashes(world):
    """As an Elixir SFU does, ours fails on a candidate that lacks sdpMLineIndex."""
    await world.start()
    await world.make()
    bot = await world.bot()
    await bot.client.push(bot.topic, "ice_candidate", {"candidate": "", "sdpMid": "0"}, bot.join_ref)
    assert await bot.client.event("phx_error") == {"reason": "channel_crash"}


@pytest.mark.parametrize("text", ["xx", '{"topic":"phoenix"}', "[1,2]"])
async def test_malformed_text_ends_the_socket(world, text):
    """What is no message closes with 1011."""
    await world.start()
    client = await world.client()
    await client.ws.send_str(text)
    await world.until(lambda: client.code is not None)
    assert client.code == 1011


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/socket/websocket", {"token": "bad", "vsn": "2.0.0"}, 403),
        ("/socket/websocket", {"vsn": "9.0.0"}, 403),
        ("/socket/websocket/websocket", {"vsn": "2.0.0"}, 404),
    ],
)
async def test_a_refused_upgrade_has_its_status_and_no_body(world, path, query, status):
    """A bad token and a bad version look the same; a wrong path does not."""
    await world.start()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with world.http.get(path, params={"token": world.token, **query}, headers=headers) as response:
        assert (response.status, status == 404 or await response.read() == b"") == (status, True)


async def test_without_vsn_the_first_serializer_is_spoken(world):
    """Version 1 replies are objects without a join_ref."""
    await world.start()
    ws = await world.http.ws_connect(world.sandbox.socket_url, params={"token": world.token})
    await ws.send_json({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"})
    reply = await ws.receive_json()
    await ws.close()
    assert reply == {"topic": "phoenix", "event": "phx_reply", "payload": OK, "ref": "1"}


async def test_a_socket_ends_with_its_token(world):
    """At `exp` the server closes with 1001."""
    await world.start(access_life=0.3)
    client = await world.client()
    await world.until(lambda: client.code is not None)
    assert client.code == 1001


async def test_the_older_close_code_is_an_option(world):
    """Phoenix before 1.8.8 closes with 1000."""
    await world.start(access_life=0.3, expiry_code=1000)
    client = await world.client()
    await world.until(lambda: client.code is not None)
    assert client.code == 1000


async def test_an_idle_socket_is_closed(world):
    """Without a frame for the idle timeout comes 1002."""
    await world.start(idle_timeout=0.1)
    client = await world.client()
    await world.until(lambda: client.code is not None)
    assert client.code == 1002


async def test_more_channels_than_allowed_are_refused(world):
    """The 101st join of one socket is an error."""
    await world.start()
    client = await world.client()
    for _ in range(100):
        department = world.sandbox.platform.add_department()
        await client.join(f"queue:{department.department_id}")
    _, reply = await client.join(f"queue:{world.ready['department_id']}")
    assert reply["response"] == {"reason": "too many channels joined"}
