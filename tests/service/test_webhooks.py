"""Voki's webhooks: only genuine ones count, each once, and only as hints."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots import Bot, ConfigurationError, Rule
from voki_bots.service.webhooks import MAX_BODY, REMEMBERED, Webhooks, call_of, genuine
from voki_bots.settings import load, webhook_secret
from voki_bots.testing.sim import Sim

SECRET = "s3cret"
BODY = b'{"event": "call.assigned", "data": {"call_id": "c-1"}}'


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("form", ["sha256={}", "{}", "SHA256={}", " sha256={} "])
def test_the_signature_is_of_the_raw_bytes(form: str) -> None:
    """With its prefix or without."""
    assert genuine(BODY, form.format(signed(BODY)), SECRET.encode())


@pytest.mark.parametrize(
    "header",
    ["", "sha256=", "é", f"sha256={signed(BODY, 'other')}", f"sha256={signed(BODY + b' ')}", "0" * 64],
)
def test_anything_else_is_refused(header: str) -> None:
    """Another secret, another body, or none at all."""
    assert not genuine(BODY, header, SECRET.encode())


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"event": "call.started", "call_id": "c"}, "c"),
        ({"event": "call.started", "data": {"call_id": "c"}}, "c"),
        ({"event": "call.started", "data": {"id": "c"}}, "c"),
        ({"event": "call.started", "data": {"call": {"id": "c"}}}, "c"),
        ({"event": "call.started", "data": {"call": {"id": "c"}, "id": "event-id"}}, "c"),
        ({"event": "customer.created", "data": {"id": "u"}}, None),
        ({"event": "call.started", "data": {"id": "../x\n"}}, None),
        ({"event": "call.started", "data": []}, None),
        ([], None),
    ],
)
def test_the_call_is_looked_for_in_every_plausible_place(body: object, call: str | None) -> None:
    """The rest of the body is undocumented."""
    assert call_of(json.dumps(body).encode()) == call


@given(st.binary(max_size=60))
def test_no_body_raises(body: bytes) -> None:
    """Whatever it is."""
    call_of(body)


def test_a_repeated_body_hints_once() -> None:
    """The platform may send it again."""
    hints: list[str | None] = []
    hooks = Webhooks(SECRET, hint=hints.append, counted=lambda outcome: None)
    statuses = [hooks.take(BODY, signed(BODY)) for _ in range(3)]
    assert (statuses, hints) == ([202, 200, 200], ["c-1"])


def test_what_is_remembered_is_bounded() -> None:
    """The oldest are forgotten."""
    hooks = Webhooks(SECRET, hint=lambda call: None, counted=lambda outcome: None)
    for number in range(REMEMBERED + 1):
        hooks.take(str(number).encode(), signed(str(number).encode()))
    assert (len(hooks._seen), hooks.take(b"0", signed(b"0"))) == (REMEMBERED, 202)


def test_an_empty_secret_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody could sign with it."""
    (tmp_path / "secret").write_text("\n")
    config = tmp_path / "bots.toml"
    config.write_text(
        '[voki]\nurl = "https://voki.example"\ntenant = "acme"\nemail = "bots@acme.example"\n'
        f'[service]\nwebhook_secret_file = "{tmp_path / "secret"}"\n'
    )
    with pytest.raises(ConfigurationError, match="webhook_secret_file: the secret is empty"):
        webhook_secret(load(config, (Bot("b"),)))


@pytest.mark.journey
class TestServed:
    """The receiver in a running service."""

    async def test_a_webhook_brings_the_bot_before_the_next_poll(
        self, sim: Sim, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The call is found by the look at the list that it hints at."""
        monkeypatch.setenv("VOKI_WEBHOOK_SECRET", SECRET)
        department = str((await sim.control("POST", "/departments", {}))["department_id"])
        bot = Bot("minutes", join=Rule(departments=(department,))).record()
        async with running(bot, service="poll = 600") as service:
            call = await sim.call(department_id=department)
            body = json.dumps({"event": "call.assigned", "data": {"call_id": call.id}}).encode()
            assert await post(service.url, body, f"sha256={signed(body)}") == 202

            async def attended() -> bool:
                return any(r["call"] == call.id for r in json.loads((await service.get("/api/v1/calls"))[1]))

            await service.until(attended, "the call being found")

    async def test_a_forgery_or_a_flood_is_refused(
        self, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the status that says why."""
        monkeypatch.setenv("VOKI_WEBHOOK_SECRET", SECRET)
        large = b"x" * (MAX_BODY + 1)
        async with running(Bot("idle", join=Rule(departments=("none",)))) as service:
            statuses = [
                await post(service.url, BODY, "sha256=00"),
                await post(service.url, large, signed(large)),
            ]
        assert statuses == [401, 413]

    async def test_without_a_secret_there_is_no_receiver(self, running: Callable[..., Any]) -> None:
        """Nothing listens for what nobody could prove."""
        async with running(Bot("idle", join=Rule(departments=("none",)))) as service:
            assert await post(service.url, BODY, signed(BODY)) == 404


async def post(url: str, body: bytes, signature: str) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/webhooks/voki", data=body, headers={"X-Voki-Signature": signature}) as answer,
    ):
        return answer.status
