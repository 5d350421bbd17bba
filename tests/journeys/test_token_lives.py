"""Calls that outlive their tokens, on a platform whose tokens live for seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.journeys.conftest import journal, likeness, sidecar
from voki_bots import Bot, QueueUpdated, ServiceEvent
from voki_bots.bots.account import Account, Credentials
from voki_bots.bots.accounts import Accounts
from voki_bots.service.topics import Topics
from voki_bots.testing.sim import SandboxProcess, Sim

LIFE = 6
"""Seconds of a token: three lives take the five sign-in requests that a minute allows, and no sixth."""


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Sim]:
    """A platform with short tokens, refresh tokens that are good once, and the limit of sign-ins."""
    options = ["--access-life", str(LIFE), "--auth-limit", "5", "--rotate-refresh", "--no-call"]
    with SandboxProcess(options) as sandbox:
        async with Sim(sandbox, tmp_path) as sim:
            yield sim


async def test_a_call_of_three_token_lives_loses_nothing(hasty: Sim) -> None:
    """Every packet of everybody is on record, in one segment, though each token ended under the call."""
    call = await hasty.call()
    async with hasty.attend(call, Bot("minutes").record()) as session:
        await call.heard_by_bots(50 * 3 * LIFE, timeout=60)
    found, like = sidecar(session.directory), await likeness(call, session.directory)
    gaps = [gap for track in found["tracks"] for gap in track["gaps"] if gap["cause"] != "late_join"]
    lives = [line for line in journal(session.directory) if line["type"] == "signalling_restored"]
    assert min(like["attendant", "attendant"], like["customer", "customer"]) >= 0.99
    assert (len(found["segments"]), len(lives) >= 3) == (1, True)
    assert sum(gap["end"] - gap["start"] for gap in gaps) < 0.1  # what was on its way when we left


async def test_a_department_is_heard_once_and_in_full_over_two_token_lives(hasty: Sim) -> None:
    """It talks all the while, and is heard in order, though the sockets change under it."""
    where = str((await hasty.control("POST", "/departments", {}))["department_id"])
    heard, missed, sent, ready = list[int | None](), list[None](), 0, asyncio.Event()

    async def hear(event: ServiceEvent) -> None:
        if isinstance(event, QueueUpdated) and event.online_agents == 1:
            heard.append(event.queue_size)
        ready.set()

    async def tell(size: int, agents: int) -> None:
        payload = {"queue_size": size, "avg_wait_time": 1, "online_agents": agents}
        body = {"topic": f"queue:{where}", "event": "queue_update", "payload": payload}
        await hasty.control("POST", "/broadcast", body)
        await asyncio.sleep(0.02)

    async with hasty.account() as account, asyncio.TaskGroup() as group:
        first = account.sockets.sockets
        topics = Topics(account, group, told=hear, missed=lambda: missed.append(None))
        await topics.follow_queue(where)
        while not ready.is_set():
            await tell(0, 0)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 2 * LIFE:
            await tell(sent, 1)
            sent += 1
        changed = account.sockets.sockets != first
        async with asyncio.timeout(5):
            while heard[-1] != sent - 1:
                await asyncio.sleep(0.02)
        await topics.close()
    assert (heard, missed, changed) == (list(range(sent)), [], True)


async def test_a_second_factor_is_given(hasty: Sim) -> None:
    """A user with TOTP signs in with the stored secret."""
    secret = "JBSWY3DPEHPK3PXP"
    made = await hasty.control("POST", "/users", {"name": "M", "role": "supervisor", "totp_secret": secret})
    credentials = Credentials(
        hasty.url, hasty.tenant, made["email"], lambda: str(made["password"]), lambda: secret, loopback=True
    )
    async with Account(credentials) as account:
        assert account.user_id == made["user_id"]


async def test_two_bots_of_a_user_share_one_account(hasty: Sim) -> None:
    """One token broker and one set of sockets for each user of each tenant."""
    user, other = await hasty.user(), await hasty.user()
    async with Accounts() as accounts:
        first, second = await accounts.account(user), await accounts.account(user)
        stranger = await accounts.account(other)
        assert first is second and stranger is not first


async def test_a_restart_does_not_sign_in(hasty: Sim, tmp_path: Path) -> None:
    """The refresh token is kept, for our eyes only, and renewed in its file; the password is not needed."""
    user = await hasty.user()
    kept = tmp_path / "token"
    for password in (user.password, _forgotten):
        credentials = type(user)(user.url, user.tenant, user.email, password, token_file=kept, loopback=True)
        async with Account(credentials) as account:
            assert account.user_id
    assert kept.stat().st_mode & 0o777 == 0o600


def _forgotten() -> str:
    raise AssertionError("the password was asked for")
