"""The REST client against a platform behind `httpx.MockTransport`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from voki_bots.calls import Role
from voki_bots.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    JoinRefusedError,
    ProtocolError,
)
from voki_bots.signalling.rest import (
    MAX_PAGES,
    Admission,
    Identity,
    MfaNeeded,
    Rest,
    Tokens,
    TurnCredentials,
    retry_after,
)

SECRET = "s3cr3t"
Answer = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def platform(answer: Answer, base: str = "https://voki.example") -> AsyncIterator[Rest]:
    async with Rest(base, "acme", transport=httpx.MockTransport(answer)) as rest:
        yield rest


def says(body: object, status: int = 200, **headers: str) -> Answer:
    return lambda request: httpx.Response(status, json=body, headers=headers)


USER = {"id": "u1", "name": "João", "role": "attendant", "email": "x"}
LOGIN = {"access_token": "a", "refresh_token": "r", "user": USER}


@pytest.mark.parametrize("body", [LOGIN, {"data": LOGIN}])
async def test_a_login_is_read_wrapped_or_flat(body: object) -> None:
    """Voki's own pages disagree (C1)."""
    async with platform(says(body)) as rest:
        tokens = await rest.login("e", "p")
    assert tokens == Tokens("a", "r", Identity("u1", "João", Role.ATTENDANT))


async def test_a_login_sends_what_is_documented() -> None:
    """Flat: email, password and tenant."""
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(
            (request.method, request.url.path, request.headers["X-Tenant"], json.loads(request.content))
        )
        return httpx.Response(200, json=LOGIN)

    async with platform(answer) as rest:
        await rest.login("e", "p")
    body = {"email": "e", "password": "p", "tenant": "acme"}
    assert seen == [("POST", "/api/auth/login", "acme", body)]


async def test_a_login_may_want_a_second_factor() -> None:
    """Then it gives a token to verify with."""
    async with platform(says({"data": {"mfa_required": True, "mfa_token": "m"}})) as rest:
        assert await rest.login("e", "p") == MfaNeeded("m")


@pytest.mark.parametrize(
    ("wanted", "errors"),
    [("otp_code", {"otp_code": ["can't be blank"]}), ("totp_code", {}), ("otp", {"detail": "x"})],
)
async def test_the_name_of_the_second_factor_is_found(wanted: str, errors: object) -> None:
    """A 422 names it; without a name the usual ones are tried (Q13)."""

    def answer(request: httpx.Request) -> httpx.Response:
        if wanted in json.loads(request.content):
            return httpx.Response(200, json=LOGIN)
        return httpx.Response(422, json={"errors": errors})

    async with platform(answer) as rest:
        assert (await rest.verify_mfa("m", "123456")).access == "a"


ADMITTED = {
    "call_id": "c1",
    "websocket_token": SECRET,
    "websocket_url": "wss://voki.example/socket/websocket",
}


@pytest.mark.parametrize("body", [ADMITTED, {"data": {"status": "queued", **ADMITTED}}])
async def test_an_access_link_gives_a_call_and_a_token(body: object) -> None:
    """With where the websocket is; wrapped or flat."""
    async with platform(says(body)) as rest:
        assert await rest.enter_queue("link", "Rita") == Admission("c1", SECRET, ADMITTED["websocket_url"])


async def test_an_access_link_is_one_segment_of_a_path_and_needs_no_token() -> None:
    """Whatever is in it."""
    seen: list[tuple[bytes, bool, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        seen.append((request.url.raw_path, "Authorization" in request.headers, body))
        return httpx.Response(200, json=ADMITTED)

    async with platform(answer) as rest:
        await rest.enter_queue("../calls", "Rita")
    assert seen == [(b"/api/v1/call/%2E%2E%2Fcalls/join", False, {"name": "Rita"})]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 404, ConfigurationError),
        ({}, 410, ConfigurationError),
        ({"errors": {"name": ["x"]}}, 422, ConfigurationError),
        ({}, 429, ConnectionLostError),
        ({}, 503, ConnectionLostError),
        ({"call_id": "c1"}, 200, ProtocolError),
        ({**ADMITTED, "call_id": "a/\n"}, 200, ProtocolError),
        ({**ADMITTED, "websocket_token": 7}, 200, ProtocolError),
        ([], 200, ProtocolError),
    ],
)
async def test_a_link_that_gives_nothing_is_told_without_it(
    body: object, status: int, error: type[Exception]
) -> None:
    """A link is as good as a key."""
    async with platform(says(body, status)) as rest:
        with pytest.raises(error) as told:
            await rest.enter_queue("l1nk", "Rita")
    assert "l1nk" not in str(told.value)


async def test_me_sends_token_and_tenant() -> None:
    """As the platform's pages show."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == f"Bearer {SECRET}"
        return httpx.Response(200, json={"data": USER})

    async with platform(answer) as rest:
        assert await rest.me(SECRET) == Identity("u1", "João", Role.ATTENDANT)


ITEM = {
    "id": "c1",
    "status": "active",
    "department_id": "d",
    "department_name": "Support",
    "customer_name": "Carlos",
}


async def test_a_call_is_read() -> None:
    """With the fields that its list shows."""
    async with platform(says({"data": ITEM})) as rest:
        call = await rest.call("t", "c1")
    assert (call.key, call.status, call.department, call.customer_name) == (
        ("acme", "c1"),
        "active",
        "Support",
        "Carlos",
    )


async def test_a_call_that_is_not_there_is_refused() -> None:
    """It is not for us."""
    async with platform(says({"errors": {"detail": "Not Found"}}, 404)) as rest:
        with pytest.raises(JoinRefusedError):
            await rest.call("t", "c1")


@pytest.mark.parametrize("call_id", ["../users/me", "..", ".", "a/b?c#d", "é"])
async def test_a_hostile_call_id_stays_one_segment_of_the_path(call_id: str) -> None:
    """It cannot name another resource."""
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"data": ITEM})

    async with platform(answer) as rest:
        await rest.call("t", call_id)
    assert paths[0].startswith("/api/v1/calls/") and paths[0].count("/") == 4 and "?" not in paths[0]


@pytest.mark.parametrize("call_id", ["", "a\nb", "\x00", "x" * 5000])
async def test_an_impossible_call_id_is_not_asked_for(call_id: str) -> None:
    """It is a mistake of the caller's."""
    async with platform(says({})) as rest:
        with pytest.raises(ConfigurationError, match="the call id"):
            await rest.call("t", call_id)


async def test_all_pages_of_calls_are_read() -> None:
    """As the meta says."""

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        meta = {"current_page": page, "total_pages": 3}
        return httpx.Response(200, json={"data": [{"id": f"c{page}"}], "meta": meta})

    async with platform(answer) as rest:
        assert [call.call_id for call in await rest.calls("t")] == ["c1", "c2", "c3"]


async def test_a_platform_that_ignores_the_page_is_not_asked_for_ever() -> None:
    """Nothing new on a page ends the list."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, json={"data": [{"id": "c"}], "meta": {"total_pages": 10**9}})

    async with platform(answer) as rest:
        assert (len(await rest.calls("t")), len(asked)) == (1, 2)


async def test_the_list_of_calls_is_bounded() -> None:
    """Endless pages are not read endlessly."""

    def answer(request: httpx.Request) -> httpx.Response:
        page = request.url.params["page"]
        return httpx.Response(200, json={"data": [{"id": page}], "meta": {"total_pages": 10**9}})

    async with platform(answer) as rest:
        assert len(await rest.calls("t")) == MAX_PAGES


async def test_calls_are_filtered_by_the_platform() -> None:
    """By status and department."""

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        assert (params["status"], params["department_id"]) == ("active", "d")
        return httpx.Response(200, json={"data": [ITEM, {"id": "x\ny"}, "junk", {}]})

    async with platform(answer) as rest:
        calls = await rest.calls("t", status="active", department_id="d")
    assert [call.call_id for call in calls] == ["c1"]


@pytest.mark.parametrize("urls", ["turn:x:3478", ["turn:x:3478"]])
@pytest.mark.parametrize("wrap", [True, False])
async def test_turn_credentials_are_read(urls: object, wrap: bool) -> None:
    """Wrapped or flat, one url or a list; the username tells the expiry (Q22)."""
    body: dict[str, Any] = {
        "urls": urls,
        "username": "1708300800:user123",
        "credential": SECRET,
        "ttl": 86400,
    }
    async with platform(says({"data": body} if wrap else body)) as rest:
        turn = await rest.turn_credentials("t")
    assert turn == TurnCredentials(("turn:x:3478",), "1708300800:user123", SECRET, 1708300800.0, 86400.0)


async def test_public_turn_credentials_need_no_token() -> None:
    """None is sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers and request.url.path == "/api/v1/call/turn-credentials"
        return httpx.Response(200, json={"urls": []})

    async with platform(answer) as rest:
        assert (await rest.public_turn_credentials()).urls == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (422, AuthenticationError),
        (429, ConnectionLostError),
        (500, ConnectionLostError),
        (503, ConnectionLostError),
        (404, ConfigurationError),
        (302, ConfigurationError),
    ],
)
async def test_statuses_become_errors(status: int, error: type[Exception]) -> None:
    """Each says what to do."""
    async with platform(says({}, status, Location="https://elsewhere.example")) as rest:
        with pytest.raises(error, match=f"HTTP {status}"):
            await rest.login("e", "p")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("", 60.0), ("soon", 60.0), ("9e9", 300.0), ("-1", 0.0)]
)
async def test_retry_after_is_read_and_bounded(header: str, seconds: float) -> None:
    """A minute where the platform does not say."""
    async with platform(says({}, 429, **{"Retry-After": header})) as rest:
        with pytest.raises(ConnectionLostError) as caught:
            await rest.login("e", "p")
    assert retry_after(caught.value) == seconds


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_an_unreachable_platform_is_a_lost_connection(failure: type[httpx.TransportError]) -> None:
    """One sentence that names the host, without a cause that holds the request."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise failure("boom", request=request)

    async with platform(answer) as rest:
        with pytest.raises(ConnectionLostError, match="voki.example") as caught:
            await rest.login("e", SECRET)
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1]", b'{"data": 7}', b'{"data": {"access_token": 7}}', b"\xff", b"[" * 99999]
)
async def test_an_unreadable_answer_is_a_protocol_error(body: bytes) -> None:
    """Whatever it is."""
    async with platform(lambda request: httpx.Response(200, content=body)) as rest:
        with pytest.raises(ProtocolError):
            await rest.login("e", "p")


async def test_no_secret_is_in_an_error_or_repr() -> None:
    """Even if the platform echoes what we sent."""
    echo = {"errors": {"password": [SECRET], "email": ["is invalid"]}}
    async with platform(says(echo, 422)) as rest:
        with pytest.raises(AuthenticationError) as caught:
            await rest.login("e", SECRET)
    values = (Tokens(SECRET, SECRET), MfaNeeded(SECRET), TurnCredentials((), "", SECRET))
    shown = f"{caught.value!r} {values!r}"
    assert SECRET not in shown and "password" in shown


@pytest.mark.parametrize(
    "base", ["", "voki.example", "ftp://voki.example", "https://", "https://[", "wss://voki.example"]
)
async def test_an_impossible_address_is_a_configuration_error(base: str) -> None:
    """Found before anything is asked."""
    with pytest.raises(ConfigurationError):
        Rest(base, "acme")


@pytest.mark.parametrize(
    "base", ["https://voki.example/", "https://voki.example/api", "https://voki.example/api/"]
)
async def test_the_address_may_end_in_api(base: str) -> None:
    """The path is right either way."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://voki.example/api/v1/users/me"
        return httpx.Response(200, json=USER)

    async with platform(answer, base) as rest:
        await rest.me("t")
