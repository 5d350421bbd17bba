"""What a Phoenix server does beyond the recordings: binaries, limits, ends, versions, tokens."""

import asyncio
import base64

import pytest


@pytest.fixture
async def peer(world):
    """A socket with test channels, and the world around it."""
    await world.start(conformance=True)
    return await world.client("user:ana")


async def test_without_the_flag_there_is_none_of_it(world):
    """Neither its tokens nor its endpoints are known."""
    await world.start()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    query = {"token": "user:ana", "vsn": "2.0.0"}
    async with (
        world.http.get("/socket/websocket", params=query, headers=headers) as refused,
        world.http.get("/health") as missing,
    ):
        assert (refused.status, missing.status) == (403, 404)


async def test_with_the_flag_the_platform_is_still_there(world, peer):
    """A token of the platform's opens its topics, not the test channels."""
    bot = await world.client()
    _, reply = await bot.join("call:1")
    assert reply["response"] == {"reason": "not_found"}


# ---------------------------------------------------------------- binary messages


async def test_a_binary_push_gets_a_binary_reply(peer):
    """Kind 1 with join_ref, ref, topic, status and the bytes."""
    ref, _ = await peer.join("call:b")
    await peer.binary("call:b", "echo", b"\x00\xff", ref)
    await peer.beat()
    assert peer.binaries == [b"\x01\x01\x01\x06\x02" + b"12call:bok\x00\xff"]


async def test_a_binary_reply_may_be_an_error(peer):
    """The status is in the message's names."""
    ref, _ = await peer.join("call:b")
    await peer.binary("call:b", "bin_error", b"\x07", ref)
    await peer.beat()
    assert peer.binaries == [b"\x01\x01\x01\x06\x05" + b"12call:berror\x07"]


async def test_a_binary_push_of_the_server_has_no_ref(peer):
    """Kind 0 with join_ref, topic and event."""
    ref, _ = await peer.join("call:b")
    await peer.binary("call:b", "bin_push", b"\x07", ref)
    await peer.beat()
    assert peer.binaries == [b"\x00\x01\x06\x08" + b"1call:bbin_push\x07"]


async def test_a_binary_broadcast_has_no_refs_at_all(world, peer):
    """Kind 2 with topic and event, to every subscriber."""
    other = await world.client("user:bob")
    await other.join("call:b")
    ref, _ = await peer.join("call:b")
    await peer.binary("call:b", "bin_bcast", b"", ref)
    await peer.beat()
    await other.beat()
    assert peer.binaries == other.binaries == [b"\x02\x06\x09" + b"call:bbin_bcast"]


async def test_a_binary_message_to_the_first_serializer_crashes_its_sender(world, peer):
    """Version 1 cannot carry bytes: the channel of whoever says them ends with phx_error."""
    old = await world.http.ws_connect(world.sandbox.socket_url, params={"token": "user:bob"})
    await old.send_json({"topic": "call:b", "event": "phx_join", "payload": {}, "ref": "1"})
    await old.receive_json()
    ref, _ = await peer.join("call:b")
    await peer.binary("call:b", "bin_bcast", b"\x07", ref)
    crashed = await peer.event("phx_error")
    await old.close()
    assert crashed == {"reason": "channel_crash"}


@pytest.mark.parametrize("frame", [b"", b"\x00\x01", b"\x01\x00\x00\x00\x00", b"\x09"])
async def test_a_malformed_binary_ends_the_socket(world, peer, frame):
    """Cut off or of an unknown kind, it closes with 1011."""
    await peer.ws.send_bytes(frame)
    await world.until(lambda: peer.code is not None)
    assert peer.code == 1011


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(("adapter", "size"), [("bandit", 8 * 2**20), ("cowboy", 2**20)])
async def test_too_long_a_message_ends_the_socket(world, adapter, size):
    """More than the web server's limit closes with 1009."""
    await world.start(conformance=True, adapter=adapter)
    client = await world.client("user:ana")
    await client.send(None, "1", "phoenix", "heartbeat", "x" * size)
    await world.until(lambda: client.code is not None)
    assert client.code == 1009


async def test_a_message_below_the_limit_is_taken(peer):
    """Bandit takes almost 8 MiB."""
    await peer.send(None, "1", "phoenix", "heartbeat", "x" * (8 * 2**20 - 100))
    assert (await peer.reply("1"))["status"] == "ok"


async def test_the_channels_of_a_full_socket_go_on(peer):
    """The 101st join is refused, and the first channel still answers."""
    first, _ = await peer.join("call:0")
    for number in range(1, 100):
        await peer.join(f"call:{number}")
    _, refused = await peer.join("call:100")
    ref = await peer.push("call:0", "echo", {"x": 1}, first)
    assert ((await peer.reply(ref))["response"], refused) == (
        {"x": 1},
        {"status": "error", "response": {"reason": "too many channels joined"}},
    )


@pytest.mark.parametrize(("adapter", "code"), [("bandit", 1002), ("cowboy", 1000)])
async def test_an_idle_socket_is_closed_with_the_adapters_code(world, adapter, code):
    """Each web server has its own."""
    await world.start(conformance=True, adapter=adapter, idle_timeout=0.1)
    client = await world.client("user:ana")
    await world.until(lambda: client.code is not None)
    assert client.code == code


async def test_a_ping_keeps_a_socket(world):
    """A websocket ping counts as traffic."""
    await world.start(conformance=True, idle_timeout=0.4)
    client = await world.client("user:ana")
    for _ in range(8):
        await client.ws.ping()
        await asyncio.sleep(0.1)
    await client.beat()
    assert client.code is None


# ---------------------------------------------------------------- joins and refs


async def test_a_slow_join_keeps_the_socket_waiting(world, peer):
    """While a join runs, no heartbeat of the same socket is answered."""
    await peer.send("1", "1", "call:slowjoin", "phx_join", {"ms": 50})
    await peer.send(None, "2", "phoenix", "heartbeat", {})
    await peer.reply("2")
    assert [frame[1] for frame in peer.frames if frame[3] == "phx_reply"] == ["1", "2"]


async def test_a_flaky_join_is_accepted_the_third_time(peer):
    """Twice refused, then in."""
    statuses = [(await peer.join("call:flaky:1"))[1]["status"] for _ in range(4)]
    assert statuses == ["error", "error", "ok", "ok"]


async def test_a_leave_without_a_join_ref_is_ignored(peer):
    """A push may name none, a leave must."""
    await peer.join("call:1")
    await peer.push("call:1", "phx_leave", {}, None)
    ref = await peer.push("call:1", "echo", {}, None)
    assert ((await peer.reply(ref))["status"], peer.events("phx_close")) == ("ok", [])


async def test_a_late_reply_has_the_ref_of_its_push(peer):
    """It may come long after, and behind other replies."""
    join_ref, _ = await peer.join("call:1")
    late = await peer.push("call:1", "later_reply", {"ms": 30, "x": 1}, join_ref)
    await peer.reply(await peer.push("call:1", "ok", {}, join_ref))
    assert (await peer.reply(late))["response"] == {"ms": 30, "x": 1}


async def test_a_crash_loses_what_is_queued_behind_it(peer):
    """No push behind it is handled: nothing comes, or "unmatched topic" if it was read after the end."""
    join_ref, _ = await peer.join("call:1")
    await peer.push("call:1", "crash", {}, join_ref)
    lost = [await peer.push("call:1", "echo", {}, join_ref) for _ in range(3)]
    await peer.event("phx_error")
    await peer.beat()
    replies = [peer._reply(ref) for ref in lost]
    assert all(reply is None or reply[4]["response"] == {"reason": "unmatched topic"} for reply in replies)


async def test_the_first_serializer_names_no_join_ref(world):
    """Version 1 is objects; the close after a second join has a null ref."""
    await world.start(conformance=True)
    ws = await world.http.ws_connect(world.sandbox.socket_url, params={"token": "user:ana"})
    for ref in ("1", "2"):
        await ws.send_json({"topic": "call:1", "event": "phx_join", "payload": {}, "ref": ref})
    came = [await ws.receive_json() for _ in range(4)]
    await ws.close()
    closed = {"topic": "call:1", "event": "phx_close", "payload": {}, "ref": None}
    assert ([f["event"] for f in came].count("phx_close"), closed in came) == (1, True)


# ---------------------------------------------------------------- HTTP, tokens


async def test_a_broadcast_by_http_reaches_the_subscribers(world, peer):
    """POST /broadcast is a broadcast, and goes through interceptors."""
    ref, _ = await peer.join("queue:1")
    body = {"topic": "queue:1", "event": "queue_update", "payload": {"queue_size": 4}}
    async with world.http.post("/broadcast", json=body) as response:
        assert response.status == 200
    await peer.event("queue_update")
    assert peer.frames[-1] == [ref, None, "queue:1", "queue_update", {"queue_size": 4, "for": "ana"}]


@pytest.mark.parametrize("body", [b"x", b"[]", b"{}", b'{"topic":1,"event":"e"}'])
async def test_a_broadcast_of_nonsense_is_refused(world, peer, body):
    """The answer is 422."""
    async with world.http.post("/broadcast", data=body) as response:
        assert response.status == 422


@pytest.mark.parametrize(("release", "code"), [("1.7", 1000), ("1.8", 1001)])
async def test_a_user_is_disconnected_by_http(world, release, code):
    """POST /disconnect/ID closes that user's sockets, with the code of the release."""
    await world.start(conformance=True, phoenix=release)
    ana, bob = await world.client("user:ana"), await world.client("user:bob")
    async with world.http.post("/disconnect/ana"):
        await world.until(lambda: ana.code is not None)
    await bob.beat()
    assert (ana.code, bob.code) == (code, None)


async def test_the_server_says_that_it_is_well_and_what_it_is(world, peer):
    """GET /health and /version answer."""
    async with world.http.get("/health") as health, world.http.get("/version") as version:
        told = await version.json()
        assert (health.status, told["phoenix"], told["adapter"]) == (200, "1.8.12", "bandit")


async def test_a_token_ends_after_its_time(world):
    """Counted from its first use: the socket is closed, and the token refused from then on."""
    await world.start(conformance=True)
    client = await world.client("expire_in:100:ana")
    await world.until(lambda: client.code is not None)
    query = {"token": "expire_in:100:ana", "vsn": "2.0.0"}
    async with world.http.get("/socket/websocket", params=query) as refused:
        assert (client.code, refused.status) == (1001, 403)


BEARER = "base64url.bearer.phx."
ANA = BEARER + base64.b64encode(b"user:ana").decode().rstrip("=")


@pytest.mark.parametrize(
    ("release", "offered", "expected"),
    [
        ("1.8", f"phoenix, {ANA}", (101, "phoenix")),
        ("1.8", f"phoenix, {BEARER}bm8", (403, None)),
        ("1.8", f"phoenix, {BEARER}-_-_", (500, None)),
        ("1.8", "soap", (403, None)),
        ("1.7", f"phoenix, {ANA}", (403, None)),
    ],
)
async def test_the_token_may_be_a_subprotocol(world, release, offered, expected):
    """Phoenix 1.8 takes it there, in base64 of the standard alphabet; 1.7 does not look."""
    await world.start(conformance=True, phoenix=release)
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": offered,
    }
    async with world.http.get("/socket/websocket", params={"vsn": "2.0.0"}, headers=headers) as response:
        assert (response.status, response.headers.get("Sec-WebSocket-Protocol")) == expected


# ---------------------------------------------------------------- the end


async def test_a_sandbox_that_ends_drains_its_sockets(world, peer):
    """Every socket is closed with 1012."""
    await world.sandbox.__aexit__(None, None, None)
    await world.until(lambda: peer.code is not None)
    assert peer.code == 1012


async def test_no_channel_is_told_when_the_whole_socket_goes(world, peer):
    """Neither phx_close nor phx_error comes before a drain's close frame."""
    ref, _ = await peer.join("call:1")
    await peer.push("call:1", "drain", {}, ref)
    await world.until(lambda: peer.code is not None)
    assert (peer.code, peer.events("phx_close") + peer.events("phx_error")) == (1012, [])


async def test_a_killed_transport_says_nothing(world, peer):
    """No close frame: 1006 at the client."""
    ref, _ = await peer.join("call:1")
    await peer.push("call:1", "kill_transport", {}, ref)
    await world.until(lambda: peer.code is not None)
    assert peer.code == 1006
