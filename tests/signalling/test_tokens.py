"""The token broker in virtual time, against a platform behind `httpx.MockTransport`."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import jwt
import pytest
import structlog
from pydantic import SecretStr

from voki_bots.errors import AuthenticationError, ConfigurationError, ConnectionLostError
from voki_bots.signalling.pace import AuthPace
from voki_bots.signalling.rest import Rest
from voki_bots.signalling.tokens import FRESH, LIFE, TokenBroker

pytestmark = pytest.mark.looptime

EPOCH = 1_800_000_000.0
PASSWORD = "p4ssw0rd"
TOTP = "JBSWY3DPEHPK3PXP"


def now() -> float:
    return asyncio.get_running_loop().time()


def six_digits(wall: float) -> str:
    """The code of `TOTP` at a time, written from RFC 6238 section 4."""
    digest = hmac.digest(base64.b32decode(TOTP), int(wall // 30).to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


class Platform:
    """Signs in and refreshes; remembers when it was asked for what."""

    def __init__(self, life: float | None = LIFE) -> None:
        self.life = life
        self.asked: list[tuple[float, str]] = []
        self.statuses: list[int] = []
        self.says_when = True
        self.refreshes = True
        self.mfa = False
        self.user = True
        self.delay = 0.0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        self.asked.append((now(), name))
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return httpx.Response(
                status, json={}, headers={"Retry-After": "30"} if status == 429 and self.says_when else {}
            )
        body = json.loads(request.content) if request.content else {}
        if name == "me":
            return httpx.Response(200, json={"id": "u1", "name": "Bot", "role": "attendant"})
        if name == "login" and self.mfa:
            return httpx.Response(200, json={"data": {"mfa_required": True, "mfa_token": "m"}})
        if name == "verify" and body["code"] != six_digits(EPOCH + now()):
            return httpx.Response(401, json={})
        if name == "refresh" and not self.refreshes:
            return httpx.Response(401, json={})
        tokens: dict[str, Any] = {"access_token": self.token(), "refresh_token": f"refresh-{len(self.asked)}"}
        if self.user:
            tokens["user"] = {"id": "u1", "name": "Bot", "role": "attendant"}
        return httpx.Response(200, json={"data": tokens})

    def token(self) -> str:
        if self.life is None:
            return f"opaque-{len(self.asked)}"
        issued = EPOCH + now()
        claims = {"sub": "u1", "iat": issued, "exp": issued + self.life, "n": len(self.asked)}
        return jwt.encode(claims, "k" * 32, algorithm="HS256")

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.asked]


@asynccontextmanager
async def broker(platform: Platform, **options: Any) -> AsyncIterator[TokenBroker]:
    async with Rest("https://voki.example", "acme", transport=httpx.MockTransport(platform)) as rest:
        settings = {"clock": now, "wall": lambda: EPOCH + now(), "random": Random(1), **options}
        yield TokenBroker(rest, "bots@acme.example", SecretStr(PASSWORD), **settings)


async def test_a_token_is_kept_while_it_lives() -> None:
    """One sign-in serves everybody."""
    platform = Platform()
    async with broker(platform) as tokens:
        first = await tokens.token()
        await asyncio.sleep(LIFE / 2)
        assert (await tokens.token() == first, platform.names) == (True, ["login"])


async def test_an_old_token_is_renewed_by_its_refresh_token() -> None:
    """Without the password."""
    platform = Platform()
    async with broker(platform) as tokens:
        first = await tokens.token()
        await asyncio.sleep(LIFE)
        assert (await tokens.token() != first, platform.names) == (True, ["login", "refresh"])


async def test_a_refused_refresh_falls_back_to_the_password() -> None:
    """The refresh token lives a week."""
    platform = Platform()
    platform.refreshes = False
    async with broker(platform) as tokens:
        await tokens.token()
        await asyncio.sleep(LIFE)
        await tokens.token()
    assert platform.names == ["login", "refresh", "login"]


async def test_many_who_ask_at_once_make_one_request() -> None:
    """Single flight."""
    platform = Platform()
    platform.delay = 1.0
    async with broker(platform) as tokens:
        got = await asyncio.gather(*(tokens.token(fresh=n % 2 == 0) for n in range(50)))
    assert (len(set(got)), platform.names) == (1, ["login"])


async def test_fresh_makes_a_new_one_unless_it_is_new() -> None:
    """A token made just now is fresh."""
    platform = Platform()
    async with broker(platform) as tokens:
        await tokens.token()
        await tokens.token(fresh=True)
        await asyncio.sleep(FRESH)
        await tokens.token(fresh=True)
    assert platform.names == ["login", "refresh"]


async def test_another_is_made_however_young_the_last_one_is() -> None:
    """Who tries what a change of tokens does needs one now."""
    platform = Platform()
    async with broker(platform) as tokens:
        first = await tokens.token()
        assert (await tokens.another() != first, platform.names) == (True, ["login", "refresh"])


@pytest.mark.parametrize("life", [60.0, LIFE, 3600.0, None])
async def test_renewals_come_at_about_three_quarters_of_the_life(life: float | None) -> None:
    """15 minutes where the token does not tell."""
    platform = Platform(life)
    async with broker(platform) as tokens:
        await tokens.token()
        await anext(tokens.renewals())
        assert 0.70 <= now() / (life or LIFE) <= 0.80


@pytest.mark.parametrize("status", [404, 429, 503])
async def test_renewals_survive_an_outage(status: int) -> None:
    """They try again with a back-off, whatever a deploy answers."""
    platform = Platform()
    async with broker(platform) as tokens:
        first = await tokens.token()
        platform.statuses = [status] * 2
        renewed = await anext(tokens.renewals())
        assert (renewed != first, len(platform.asked) > 2) == (True, True)


async def test_an_outage_is_told_to_who_has_no_token() -> None:
    """And nothing is kept of it."""
    platform = Platform()
    platform.statuses = [503]
    async with broker(platform) as tokens:
        with pytest.raises(ConnectionLostError):
            await tokens.token()
        await tokens.token()


async def test_never_more_than_five_requests_a_minute() -> None:
    """However often a fresh token is asked for."""
    platform = Platform()
    async with broker(platform) as tokens:
        for _ in range(30):
            await tokens.token(fresh=True)
            await asyncio.sleep(FRESH)
    times = [at for at, _ in platform.asked]
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[5:], strict=False))


async def test_a_429_waits_as_long_as_the_platform_says() -> None:
    """Then it asks again."""
    platform = Platform()
    platform.statuses = [429]
    async with broker(platform) as tokens:
        await tokens.token()
    assert [at for at, _ in platform.asked] == [0.0, 30.0]


async def test_a_429_that_does_not_say_waits_a_minute() -> None:
    """The limit is five a minute."""
    platform = Platform()
    platform.statuses, platform.says_when = [429], False
    async with broker(platform) as tokens:
        await tokens.token()
    assert [at for at, _ in platform.asked] == [0.0, 60.0]


async def test_the_limit_is_shared_by_all_accounts_of_a_platform() -> None:
    """Seven users who sign in at once make five requests, and two more a minute later."""
    platform, pace = Platform(), AuthPace(now)
    async with AsyncExitStack() as stack:
        brokers = [await stack.enter_async_context(broker(platform, pace=pace)) for _ in range(7)]
        await asyncio.gather(*(tokens.token() for tokens in brokers))
    assert [at for at, _ in platform.asked] == [0.0] * 5 + [60.0] * 2


@pytest.mark.parametrize("life", [3.0, 8.0])
async def test_a_token_that_ended_is_not_fresh(life: float) -> None:
    """However young it is."""
    platform = Platform(life)
    async with broker(platform) as tokens:
        first = await tokens.token()
        await asyncio.sleep(life)
        assert await tokens.token() != first


async def test_endless_429s_are_told() -> None:
    """Nobody waits for ever."""
    platform = Platform()
    platform.statuses = [429] * 9
    async with broker(platform) as tokens:
        with pytest.raises(ConnectionLostError, match="429"):
            await tokens.token()
    assert len(platform.asked) == 4


async def test_a_wrong_password_is_told_at_once() -> None:
    """With one request."""
    platform = Platform()
    platform.statuses = [401]
    async with broker(platform) as tokens:
        with pytest.raises(AuthenticationError):
            await tokens.token()
    assert platform.names == ["login"]


async def test_the_second_factor_is_computed() -> None:
    """From the secret and the wall clock."""
    platform = Platform()
    platform.mfa = True
    async with broker(platform, totp_secret=TOTP) as tokens:
        await tokens.token()
    assert platform.names == ["login", "verify"]


@pytest.mark.parametrize(
    ("secret", "error"), [(None, AuthenticationError), ("not base32!", ConfigurationError)]
)
async def test_a_missing_or_mistyped_second_factor_is_told(
    secret: str | None, error: type[Exception]
) -> None:
    """Each with its own error."""
    platform = Platform()
    platform.mfa = True
    async with broker(platform, totp_secret=secret) as tokens:
        with pytest.raises(error):
            await tokens.token()


async def test_the_identity_is_known_after_the_first_token() -> None:
    """From the sign-in, or else by asking."""
    platform = Platform()
    platform.user = False
    async with broker(platform) as tokens:
        with pytest.raises(AuthenticationError):
            _ = tokens.identity
        await tokens.token()
        assert (tokens.identity.user_id, platform.names) == ("u1", ["login", "me"])


async def test_the_refresh_token_outlives_the_process(tmp_path: Path) -> None:
    """A restart does not sign in again."""
    platform, kept = Platform(), tmp_path / "tokens" / "acme.json"
    for _ in range(2):
        async with broker(platform, refresh_file=kept) as tokens:
            await tokens.token()
    assert platform.names == ["login", "refresh"]


async def test_a_kept_token_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    """A file that was copied here gets its mode 0600 when it is read."""
    kept = tmp_path / "acme.json"
    kept.write_text('{"tenant":"acme","email":"bots@acme.example","refresh_token":"x"}')
    kept.chmod(0o644)
    async with broker(Platform(), refresh_file=kept) as tokens:
        await tokens.token()
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_the_kept_refresh_token_is_for_our_eyes_only(tmp_path: Path) -> None:
    """Mode 0600, and nothing else is left beside it."""
    kept = tmp_path / "acme.json"
    async with broker(Platform(), refresh_file=kept) as tokens:
        await tokens.token()
    assert (kept.stat().st_mode & 0o777, [p.name for p in tmp_path.iterdir()]) == (0o600, ["acme.json"])


@pytest.mark.parametrize(
    "content", ["", "junk", "[]", '{"tenant":"other","email":"bots@acme.example","refresh_token":"x"}']
)
async def test_a_file_that_is_not_ours_is_ignored(tmp_path: Path, content: str) -> None:
    """Damaged, or of another account."""
    kept, platform = tmp_path / "acme.json", Platform()
    kept.write_text(content)
    async with broker(platform, refresh_file=kept) as tokens:
        await tokens.token()
    assert platform.names == ["login"]


async def test_an_unwritable_place_is_logged_and_harms_nothing(tmp_path: Path) -> None:
    """The next restart signs in again; that is all."""
    (tmp_path / "file").write_text("")
    with structlog.testing.capture_logs() as logs:
        async with broker(Platform(), refresh_file=tmp_path / "file" / "x.json") as tokens:
            await tokens.token()
    assert "token.not_kept" in [line["event"] for line in logs]


async def test_no_secret_is_logged() -> None:
    """Neither password nor tokens, nor in the repr."""
    platform = Platform()
    platform.statuses = [429, 503]
    with structlog.testing.capture_logs() as logs:
        async with broker(platform, totp_secret=TOTP) as tokens:
            with pytest.raises(ConnectionLostError):
                await tokens.token()
            access = await tokens.token()
    shown = f"{logs}{tokens!r}{vars(tokens)['_totp']!r}"
    assert not [secret for secret in (access, PASSWORD, TOTP, "refresh-") if secret in shown]
