"""Who is let in, what for, and of whose calls; whoever is not learns nothing of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import WebSocketRoute

from tests.service.served import made, serving
from voki_bots.archive.journal import check_chain, read_journal
from voki_bots.calls import Call
from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.service import console
from voki_bots.service.access import FAILURES, Access, Buckets, Grant, Principal, Proxy, Rank, same_origin
from voki_bots.service.audit import Audit
from voki_bots.service.entrance import entrance
from voki_bots.settings import check_exposure, load

ANA = Grant(Principal("ana", Rank.VIEWER, frozenset({"acme"})), "token-of-ana-here")
MARINA = Grant(Principal("marina", Rank.SUPERVISOR, frozenset({"acme"})), "token-of-marina")
ROOT = Grant(Principal("root", Rank.ADMIN), "token-of-root-here")
EVERYBODY = (ANA, MARINA, ROOT)
PROXY = Proxy(
    (ip_network("127.0.0.1/32"),),
    "X-User",
    "X-Groups",
    {"agents": Rank.VIEWER, "leads": Rank.SUPERVISOR},
    "X-Tenants",
)

KIM = {"X-User": "kim", "X-Groups": "leads", "X-Tenants": "acme"}

HEADER = st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n")

OPEN = {
    "/livez",
    "/readyz",
    "/metrics",  # on this machine
    "/api/v1/openapi.json",
    "/",
    "/recordings",
    "/calls/{tenant}/{call:path}",
    "/recordings/{tenant}/{call:path}",
    "/console/{name}",
}
"""Whatever is not here must say whom it lets in."""

PAUSE = "/api/v1/calls/acme/c-1/pause"


def session(tenant: str = "acme", call: str = "c-1") -> Any:
    privacy = SimpleNamespace(pause=lambda *_, **__: None, resume=lambda *_, **__: None)
    here = SimpleNamespace(
        bot="minutes",
        call=Call(tenant, call),
        now=1.0,
        connected=True,
        paused=False,
        consented=True,
        pauses=(),
        participants=(),
        tracks=(),
        detached={},
        plugins=(),
        quality=(),
    )
    return SimpleNamespace(bot="minutes", call=here.call, privacy=privacy, snapshot=lambda: here)


def asked(access: Access, address: str = "127.0.0.1", **more: Any) -> httpx.AsyncClient:
    app = made(access, **more)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://localhost"
    )


def bearer(grant: Grant) -> dict[str, str]:
    return {"Authorization": f"Bearer {grant.token}"}


def flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Every route, those of routers too, whichever way FastAPI keeps them."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from flat(inner.routes) if inner is not None else (route,)


def test_every_route_says_whom_it_lets_in() -> None:
    """A route that somebody adds and forgets to guard fails here."""
    access = Access(None, EVERYBODY)
    guards = {access.viewer, access.supervisor, access.admin}
    forgotten = []
    for route in flat(made(access, routers=[console.routes()]).routes):
        if isinstance(route, APIRoute):
            found = {each.call for each in route.dependant.dependencies}
            if not found & guards and route.path not in OPEN:
                forgotten.append(route.path)
        elif not isinstance(route, WebSocketRoute) and route.path not in OPEN:  # type: ignore[attr-defined]
            forgotten.append(str(route))
    assert forgotten == []
    assert len(list(flat(made(access).routes))) > 12


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        (None, "GET", "/api/v1/running", 401),
        (ANA, "GET", "/api/v1/running", 200),
        (ANA, "POST", PAUSE, 403),
        (MARINA, "POST", PAUSE, 200),
        (ROOT, "POST", PAUSE, 200),
        (MARINA, "POST", PAUSE.replace("acme", "other"), 404),
        (MARINA, "POST", PAUSE.replace("c-1", "no-such"), 404),
        (MARINA, "GET", "/api/v1/calls/other/c-1/captions", 404),
        (ANA, "POST", "/api/v1/calls/acme/c-1/hint", 403),
        (None, "GET", "/api/v1/calls", 401),
        (ANA, "GET", "/api/v1/calls", 200),
    ],
)
async def test_ranks_and_tenants(who: Grant | None, method: str, path: str, status: int) -> None:
    """Viewers look, supervisors act, and another tenant's call is not there."""
    async with asked(Access(None, EVERYBODY), sessions=[session(), session("other")]) as http:
        body = {"json": {}} if method == "POST" else {}
        answer = await http.request(method, path, headers=bearer(who) if who else {}, **body)
    assert answer.status_code == status


async def test_only_calls_of_ones_own_tenants_are_listed() -> None:
    """Who has no tenants sees all."""
    found = {}
    for who in (ANA, ROOT):
        async with asked(Access(None, EVERYBODY), sessions=[session(), session("other")]) as http:
            listed = (await http.get("/api/v1/running", headers=bearer(who))).json()
        found[who.principal.name] = [each["tenant"] for each in listed]
    assert found == {"ana": ["acme"], "root": ["acme", "other"]}


async def test_who_one_is() -> None:
    """And what one may, so that a page shows nothing else."""
    async with asked(Access("the-control-token-", EVERYBODY)) as http:
        said = [(await http.get("/api/v1/me", headers=bearer(each))).json() for each in (ANA, MARINA)]
        shared = await http.get("/api/v1/me", headers={"Authorization": "Bearer the-control-token-"})
    assert [(each["name"], each["role"], each["tenants"]) for each in said] == [
        ("ana", "viewer", ["acme"]),
        ("marina", "supervisor", ["acme"]),
    ]
    assert [each["may"]["speak"] for each in said] == [False, True]
    assert (shared.json()["name"], shared.json()["role"]) == ("api", "admin")


async def test_only_an_admin_ends_the_pauses_of_others() -> None:
    """A supervisor ends their own."""
    async with asked(Access(None, EVERYBODY), sessions=[session()]) as http:
        path = PAUSE.replace("pause", "resume")
        status = [
            (await http.post(path, json={"everyone": all_}, headers=bearer(who))).status_code
            for who, all_ in ((MARINA, False), (MARINA, True), (ROOT, True))
        ]
    assert status == [200, 403, 200]


async def test_wrong_tokens_are_tried_slowly() -> None:
    """After ten in a row an address waits, and no other one does."""
    now = 0.0
    access = Access(None, EVERYBODY, clock=lambda: now)
    async with asked(access) as http, asked(access, "10.0.0.9") as elsewhere:
        wrong = {"Authorization": "Bearer not-the-token-at-all"}
        found = [(await http.get("/api/v1/me", headers=wrong)).status_code for _ in range(12)]
        assert found == [401] * int(FAILURES) + [429] * 2
        locked = await http.get("/api/v1/me", headers=bearer(ANA))
        assert (locked.status_code, int(locked.headers["Retry-After"]) > 0) == (429, True)
        assert (await elsewhere.get("/api/v1/me", headers=bearer(ANA))).status_code == 200
        now = 7.0
        assert (await http.get("/api/v1/me", headers=bearer(ANA))).status_code == 200


async def test_who_came_in_lately_is_not_kept_out() -> None:
    """A stale script on the same machine must not keep a supervisor from pausing."""
    access = Access(None, EVERYBODY, clock=lambda: 0.0)
    async with asked(access, sessions=[session()]) as http:
        assert (await http.get("/api/v1/me", headers=bearer(MARINA))).status_code == 200
        for _ in range(12):
            await http.get("/api/v1/me", headers={"Authorization": "Bearer not-the-token-at-all"})
        assert (await http.post(PAUSE, json={}, headers=bearer(MARINA))).status_code == 200
        assert (await http.get("/api/v1/me", headers=bearer(ANA))).status_code == 429


async def test_nobody_asks_without_end() -> None:
    """A burst is fine; then it is so many a second, for each person."""
    now = 0.0
    access = Access(None, EVERYBODY, rate=2.0, burst=5.0, clock=lambda: now)
    async with asked(access) as http:
        found = [(await http.get("/api/v1/me", headers=bearer(ANA))).status_code for _ in range(6)]
        assert found == [200] * 5 + [429]
        assert (await http.get("/api/v1/me", headers=bearer(MARINA))).status_code == 200
        now = 0.6
        assert (await http.get("/api/v1/me", headers=bearer(ANA))).status_code == 200


def test_what_is_remembered_of_strangers_is_bounded() -> None:
    """A million addresses cost no more memory than ten thousand."""
    buckets = Buckets(10.0, 1.0, lambda: 0.0)
    for n in range(20_000):
        buckets.add(str(n))
    assert len(buckets._levels) == 10_000


@pytest.mark.parametrize(
    ("address", "headers", "who"),
    [
        (
            "127.0.0.1",
            {"X-User": "kim", "X-Groups": "agents, leads", "X-Tenants": "acme"},
            ("kim", "supervisor"),
        ),
        ("127.0.0.1", {"X-User": "kim", "X-Groups": "agents", "X-Tenants": "acme"}, ("kim", "viewer")),
        ("127.0.0.1", {"X-User": "kim", "X-Groups": "guests", "X-Tenants": "acme"}, None),
        ("127.0.0.1", {"X-User": "kim", "X-Groups": "leads"}, None),
        ("127.0.0.1", {"X-Groups": "leads", "X-Tenants": "acme"}, None),
        ("10.0.0.9", {"X-User": "kim", "X-Groups": "leads", "X-Tenants": "acme"}, None),
        ("10.0.0.9", {"X-User": "kim", "X-Groups": "leads", "X-Forwarded-For": "127.0.0.1"}, None),
    ],
)
async def test_a_proxy_that_is_trusted_says_who_it_is(
    address: str, headers: dict[str, str], who: tuple[str, str] | None
) -> None:
    """Nobody else's headers are believed, and a name without a role opens nothing."""
    async with asked(Access(None, EVERYBODY, PROXY), address) as http:
        answer = await http.get("/api/v1/me", headers=headers)
    said = answer.json()
    assert ((said["name"], said["role"]) if answer.status_code == 200 else None) == who


@given(
    st.text(
        alphabet=st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=300
    )
)
async def test_no_header_lets_in_who_has_no_token(text: str) -> None:
    """Whatever it holds, it is refused and nothing breaks."""
    async with asked(Access(None, EVERYBODY, PROXY, clock=iter(range(0, 10**9, 1000)).__next__)) as http:
        raw = text.encode("latin-1")
        for name in (b"authorization", b"x-user", b"x-groups"):
            answer = await http.get("/api/v1/running", headers=[(name, raw)])
            assert answer.status_code == 401


@pytest.mark.parametrize(
    ("origin", "status"), [(None, 200), ("http://localhost", 200), ("http://evil.example", 403)]
)
async def test_a_page_of_elsewhere_commands_nothing(origin: str | None, status: int) -> None:
    """Though a proxy would sign its reader in."""
    headers = {"X-User": "kim", "X-Groups": "leads", "X-Tenants": "acme"} | (
        {"Origin": origin} if origin else {}
    )
    async with asked(Access(None, (), PROXY), sessions=[session()]) as http:
        assert (await http.post(PAUSE, json={}, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        (None, "h", True),
        ("http://h", "h", True),
        ("http://h:80", "h", False),
        ("null", "h", False),
        ("http://h", None, False),
    ],
)
def test_same_origin(origin: str | None, host: str | None, same: bool) -> None:
    """Browsers say where a page is from; what is no browser says nothing."""
    assert same_origin(origin, host) is same


# ---------------------------------------------------------------- the audit


async def test_who_did_what_is_kept(tmp_path: Path) -> None:
    """In a chain that shows if anybody changes it; refusals are there too."""
    audit = Audit(tmp_path / "calls", clock=lambda: 1.0, wall=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    assert not audit.path.exists()
    async with asked(Access(None, EVERYBODY, audit=audit), sessions=[session()]) as http:
        await http.post(PAUSE, json={"reason": "card"}, headers=bearer(MARINA))
        await http.post(PAUSE, json={}, headers=bearer(ANA))
    audit.close()
    lines = read_journal(audit.path)
    assert [(each["type"], each["by"], each["call"]) for each in lines] == [
        ("paused", "marina", "c-1"),
        ("refused", "ana", "c-1"),
    ]
    assert not check_chain(lines)
    assert audit.path.stat().st_mode & 0o777 == 0o600


async def test_what_cannot_be_noted_is_not_done() -> None:
    """A full disk must not let anybody act unseen; but a pause keeps a card number from being recorded."""

    def full(*_: Any, **__: Any) -> None:
        raise FileWriteError("no space", path="x")

    here = session()
    here.privacy.resume = lambda *_, **__: pytest.fail("it was done")
    async with asked(Access(None, EVERYBODY, audit=full), sessions=[here]) as http:
        paused = await http.post(PAUSE, json={}, headers=bearer(MARINA))
        answer = await http.post(PAUSE.replace("pause", "resume"), json={}, headers=bearer(MARINA))
    assert paused.status_code == 200
    assert (answer.status_code, "noted" in answer.json()["detail"]) == (503, True)


# ---------------------------------------------------------------- settings

HEAD = '[voki]\nurl = "https://voki.example"\ntenant = "acme"\nemail = "a@acme.test"\n[[bots]]\nname = "m"\n'


def settings(tmp_path: Path, text: str, **tokens: str) -> Any:
    for name, token in tokens.items():
        (tmp_path / name).write_text(f"{token}\n")
    path = tmp_path / "bots.toml"
    path.write_text(HEAD + f'[archive]\ndirectory = "{tmp_path}/calls"\n' + text.replace("@", f"{tmp_path}/"))
    return load(path)


def person(name: str, file: str, role: str = "viewer") -> str:
    return f'[[service.access]]\nname = "{name}"\nrole = "{role}"\ntoken_file = "@{file}"\n'


def test_people_are_let_in_as_the_settings_say(tmp_path: Path) -> None:
    """Each with their own token, from a file."""
    text = person("ana", "a") + person("marina", "m", "supervisor")
    with entrance(settings(tmp_path, text, a="a" * 16, m="m" * 20)) as access:
        assert access._of("m" * 20) == Principal("marina", Rank.SUPERVISOR)
        assert access._of("a" * 15) is None


@pytest.mark.parametrize(
    ("text", "tokens", "why"),
    [
        (person("ana", "a"), {"a": "short"}, "at least 16 characters"),
        (person("ana", "a"), {}, "cannot be read"),
        (person("ana", "a") + person("ana", "b"), {"a": "a" * 16, "b": "b" * 16}, "the same name"),
        (person("ana", "a") + person("kim", "b"), {"a": "a" * 16, "b": "a" * 16}, "the same token"),
        ("[service]\nconsole = true\n", {}, "nobody could use the console"),
        ('[service]\nhost = "0.0.0.0"\n', {}, "nobody checks who asks"),
        ('[service]\nhost = "192.0.2.1"\n' + person("ana", "a"), {"a": "a" * 16}, "unencrypted"),
    ],
)
def test_settings_that_would_let_in_too_many(
    tmp_path: Path, text: str, tokens: dict[str, str], why: str
) -> None:
    """They are refused at the start, with what to do."""
    made = settings(tmp_path, text, **tokens)
    with pytest.raises(ConfigurationError, match=why), entrance(made):
        pass


@pytest.mark.parametrize(
    "text",
    [
        '[service]\nhost = "0.0.0.0"\n[service.tls]\ncertificate = "c"\nkey = "k"\n',
        '[service]\nhost = "0.0.0.0"\n[service.proxy]\ntrusted = ["10.0.0.0/8"]\nroles = { a = "admin" }\n',
        '[service]\nhost = "127.0.0.1"\n',
    ],
)
def test_settings_that_may_be_asked_from_elsewhere(tmp_path: Path, text: str) -> None:
    """With access, and TLS or a proxy."""
    check_exposure(settings(tmp_path, text).service, guarded=True)


# ---------------------------------------------------------------- before every route


async def test_hostile_requests_are_refused() -> None:
    """Huge bodies, with or without a length, and tricks of paths; never an error of ours."""
    app = made(Access(None, EVERYBODY), sessions=[session()])
    async with serving(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def endless() -> Any:
            for _ in range(10_000):
                yield b"x" * 1024

        huge = b'{"reason":"' + b"x" * 200_000 + b'"}'
        found = [
            (await http.post(PAUSE, content=huge, headers=bearer(MARINA))).status_code,
            (await http.post(PAUSE, content=b"{", headers=bearer(MARINA))).status_code,
            (await http.get("/api/v1/calls/acme/" + "x" * 4000 + "/events", headers=bearer(ANA))).status_code,
            (await http.get("/api/v1/calls/acme/%00/events", headers=bearer(ANA))).status_code,
            (await http.get(f"/api/v1/calls/acme/{'x' * 300}/events", headers=bearer(ANA))).status_code,
            (await http.get("/api/v1/calls/acme/..%2f..%2fetc/events", headers=bearer(ANA))).status_code,
            (await http.get("/console/..%2faccess.py")).status_code,
        ]
        assert found == [413, 422, 414, 404, 404, 404, 404]
        try:
            assert (await http.post(PAUSE, content=endless(), headers=bearer(MARINA))).status_code == 413
        except httpx.HTTPError as error:  # it may be told before everything was taken
            assert isinstance(error, httpx.WriteError | httpx.RemoteProtocolError | httpx.ReadError)


async def test_browsers_are_told_to_be_careful() -> None:
    """With every answer, refusals included; pages say more."""
    app = made(Access(None, EVERYBODY), routers=[console.routes()])
    async with serving(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for path in ("/livez", "/api/v1/running", "/no-such", "/"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
