"""REST as Voki documents it."""

import pytest

from voki_bots.sandbox.accounts import one_time_code


async def login(world, **changes):
    body = {"email": "bot@sandbox.test", "password": "sandbox-password", "tenant": "sandbox", **changes}
    return await world.api("POST", "/api/auth/login", **body)


async def test_login_gives_tokens_and_the_user(world):
    """Everything is wrapped in `data`."""
    await world.start()
    data = (await login(world))["data"]
    assert (set(data), data["user"]["role"]) == ({"access_token", "refresh_token", "user"}, "supervisor")


@pytest.mark.parametrize(
    ("changes", "status"), [({"password": "no"}, 401), ({"tenant": "other"}, 401), ({"email": None}, 422)]
)
async def test_a_bad_login_is_refused(world, changes, status):
    """Wrong credentials are 401, missing fields 422."""
    await world.start()
    await login(world, **changes)
    assert world.status == status


async def test_the_error_envelope_is_the_documented_one(world):
    """A refused login says so under errors.detail."""
    await world.start()
    assert await login(world, password="no") == {"errors": {"detail": "Invalid credentials"}}


async def test_a_code_is_asked_of_users_who_have_one(world):
    """A login with a second factor ends with the right code."""
    await world.start()
    secret = "JBSWY3DPEHPK3PXP"
    user = await world.control("POST", "/users", name="Eva", role="attendant", totp_secret=secret)
    asked = (await login(world, email=user["email"], password=user["password"]))["data"]
    code = one_time_code(secret, int(world.sandbox._wall() // 30))
    given = await world.api("POST", "/api/auth/mfa/verify", mfa_token=asked["mfa_token"], code=code)
    assert (asked["mfa_required"], given["data"]["user"]["name"]) == (True, "Eva")


async def test_refresh_keeps_its_token_by_default(world):
    """Without rotation no new refresh token comes."""
    await world.start()
    refresh = (await login(world))["data"]["refresh_token"]
    assert set((await world.api("POST", "/api/auth/refresh", refresh_token=refresh))["data"]) == {
        "access_token"
    }


async def test_a_rotated_refresh_token_is_good_once(world):
    """With rotation the old one is refused."""
    await world.start(rotate_refresh=True)
    refresh = (await login(world))["data"]["refresh_token"]
    await world.api("POST", "/api/auth/refresh", refresh_token=refresh)
    await world.api("POST", "/api/auth/refresh", refresh_token=refresh)
    assert world.status == 401


async def test_sign_ins_may_be_limited(world):
    """The sixth in a minute is 429."""
    await world.start(auth_limit=5)
    for _ in range(6):
        await login(world)
    assert world.status == 429


@pytest.mark.parametrize(("said", "expected"), [(True, "60"), (False, None)])
async def test_a_limit_may_say_how_long_to_wait(world, said, expected):
    """With `retry_after` the 429 carries the header, without it nothing."""
    await world.start(auth_limit=1, retry_after=said)
    await login(world)
    async with world.http.post("/api/auth/login", json={}) as refused:
        assert (refused.status, refused.headers.get("Retry-After")) == (429, expected)


@pytest.mark.parametrize("headers", [{"X-Tenant": "other"}, {"Authorization": "Bearer x.y.z"}])
async def test_token_and_tenant_must_fit(world, headers):
    """A foreign tenant or token is 401."""
    await world.start()
    await world.api("GET", "/api/v1/users/me", headers=headers)
    assert world.status == 401


async def test_attendants_may_not_list_departments(world):
    """That needs a supervisor."""
    await world.start()
    await world.api("GET", "/api/v1/departments", token=world.ready["tokens"]["attendant"])
    assert world.status == 403


async def test_me_is_the_tokens_user(world):
    """`users/me` says who signed in."""
    await world.start()
    me = (await world.api("GET", "/api/v1/users/me"))["data"]
    assert (me["id"], me["role"]) == (world.sandbox._bot.user_id, "supervisor")


async def test_calls_come_in_pages(world):
    """The second page of 3 calls, 2 a page, holds one."""
    await world.start()
    for _ in range(3):
        await world.make()
    page = await world.api("GET", "/api/v1/calls?page=2&page_size=2")
    assert (len(page["data"]), page["meta"]["total_pages"], page["meta"]["total_count"]) == (1, 2, 3)


async def test_calls_are_filtered_by_status(world):
    """An assigned call is still queued until it starts."""
    await world.start()
    await world.make(status="active")
    await world.make(status="assigned")
    listed = await world.api("GET", "/api/v1/calls?status=queued")
    assert [item["id"] for item in listed["data"]] == [world.call["call_id"]]


async def test_a_call_goes_through_its_life(world):
    """Assign, start, complete: the details follow."""
    await world.start()
    await world.make(status="queued")
    path = f"/api/v1/calls/{world.call['call_id']}"
    seen = [(await world.api("POST", f"{path}/{verb}"))["data"] for verb in ("assign", "start", "complete")]
    assert [item["status"] for item in seen] == ["queued", "active", "completed"]


async def test_details_name_attendant_and_customer(world):
    """The roster of a late bot is seeded from here."""
    await world.start()
    await world.make({"name": "Ana", "role": "attendant"}, {"name": "Carlos", "role": "customer"})
    found = (await world.api("GET", f"/api/v1/calls/{world.call['call_id']}"))["data"]
    assert (found["user_id"], found["user_name"], found["customer_name"]) == (
        world.call["people"][0]["user_id"],
        "Ana",
        "Carlos",
    )


async def test_turn_lists_what_it_was_given(world):
    """On loopback there is no TURN, so the list is empty unless set."""
    await world.start(turn_urls=("turn:127.0.0.1:3478?transport=udp",))
    data = (await world.api("GET", "/api/v1/turn/credentials"))["data"]
    assert (data["urls"], data["ttl"]) == (["turn:127.0.0.1:3478?transport=udp"], 86400)


async def test_turn_has_a_public_door(world):
    """The public endpoint needs no token."""
    await world.start()
    async with world.http.get("/api/v1/call/turn-credentials") as response:
        assert (await response.json())["data"]["urls"] == []


async def test_the_widget_puts_a_customer_into_the_queue(world):
    """The join gives a call and a socket token good for it."""
    await world.start()
    department = next(iter(world.sandbox.platform.departments.values()))
    data = (await world.api("POST", f"/api/v1/call/{department.token}/join", name="Rita"))["data"]
    customer = await world.client(data["websocket_token"])
    _, reply = await customer.join(f"call:{data['call_id']}")
    assert (data["status"], data["position"], reply["status"]) == ("queued", 1, "ok")


async def test_a_department_may_have_switches_of_its_own(world):
    """Calls that enter it by its access link begin with them, and a call's own go before them."""
    await world.start()
    made = await world.control("POST", "/departments", switches={"snapshot": True, "video": True})
    data = (await world.api("POST", f"/api/v1/call/{made['token']}/join", name="Rita"))["data"]
    assert world.sandbox.platform.rooms[data["call_id"]].switches.snapshot
    department = world.sandbox.platform.departments[made["department_id"]]
    room = world.sandbox.platform.add_call(department, switches={"video": False})
    assert (room.switches.snapshot, room.switches.video) == (True, False)


@pytest.mark.parametrize("switches", [{"nonsense": True}, {"snapshot": 1}, [1]])
async def test_a_departments_switches_are_checked(world, switches):
    """When it is made, not when somebody calls."""
    await world.start()
    with pytest.raises(AssertionError, match="switch"):
        await world.control("POST", "/departments", switches=switches)
