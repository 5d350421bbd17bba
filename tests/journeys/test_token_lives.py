"""Calls that outlive their tokens, on a platform whose tokens live for seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.journeys.conftest import journal, likeness, sidecar
from voki_bots import Bot
from voki_bots.bots.account import Account
from voki_bots.bots.accounts import Accounts
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
