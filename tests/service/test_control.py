"""Commands over HTTP: who may give them, and what is answered."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from voki_bots.calls import Call, Participant
from voki_bots.service.access import Access
from voki_bots.service.control import Control

TOKEN = "a-token-of-the-tests"
PAUSE = "/api/v1/calls/acme/a%2Fb/pause"

Ask = Callable[..., Any]


def asked(control: Control) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(control.routes())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


@pytest.mark.parametrize(
    ("token", "given", "status"),
    [
        (None, f"Bearer {TOKEN}", 403),
        (TOKEN, "", 401),
        (TOKEN, "Bearer ", 401),
        (TOKEN, "Bearer a-token-of-somebody", 401),
        (TOKEN, f"Basic {TOKEN}", 401),
        (TOKEN, f"Bearer {TOKEN}", 200),
    ],
)
async def test_commands_want_the_control_token(token: str | None, given: str, status: int) -> None:
    """Without one in the configuration there are no commands at all."""
    async with asked(Control(lambda: (), Access(token))) as http:
        answer = await http.get("/api/v1/running", headers={"Authorization": given})
    assert answer.status_code == status


async def test_a_call_that_nobody_attends_is_not_found() -> None:
    """An id may hold a slash; the tenant must be right too."""
    other: Any = SimpleNamespace(call=Call("other", "a/b"))
    async with asked(Control(lambda: (other,), Access(TOKEN))) as http:
        answer = await http.post(PAUSE, json={}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404 and "no bot attends" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{"seconds": 0}, {"actor": "a\nb"}, {"actor": "a" * 65}, {"second": 1}])
async def test_a_body_that_is_not_understood_is_refused(body: dict[str, Any]) -> None:
    """A mistyped name is no pause without an end."""
    async with asked(Control(lambda: (), Access(TOKEN))) as http:
        answer = await http.post(PAUSE, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 422


class Agreed:
    """The far end of a route: a session that keeps who agreed."""

    def __init__(self) -> None:
        self.call = Call("acme", "a/b")
        self.roster = SimpleNamespace(participants=[Participant("u-carl")])
        self.privacy = self
        self.heard: list[tuple[str, str, bool]] = []

    def agree(self, by: str, *, how: str, given: bool) -> None:
        self.heard.append((by, how, given))

    def snapshot(self) -> Any:
        return SimpleNamespace(
            bot="minutes",
            call=self.call,
            now=1.0,
            connected=True,
            paused=False,
            consented=True,
            pauses=(),
            participants=(("Carl", "customer", True),),
            tracks=(),
            detached={},
            plugins=("recorder",),
            quality=(),
        )


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        ({}, ("api", "api", True)),
        ({"by": "u-carl", "how": "said yes", "actor": "ana"}, ("u-carl", "said yes (api:ana)", True)),
        ({"by": "u-carl", "given": False}, ("u-carl", "api", False)),
    ],
)
async def test_the_word_of_somebody_on_being_recorded_is_passed_on(
    body: dict[str, Any], heard: tuple[str, str, bool]
) -> None:
    """Whose word it is, how it is known and through whom reach the session."""
    session: Any = Agreed()
    async with asked(Control(lambda: (session,), Access(TOKEN))) as http:
        address = PAUSE.replace("pause", "consent")
        answer = await http.post(address, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, session.heard) == (200, [heard])


async def test_a_mistyped_id_is_nobodys_word() -> None:
    """It must not count for everybody who is there."""
    session: Any = Agreed()
    async with asked(Control(lambda: (session,), Access(TOKEN))) as http:
        address = PAUSE.replace("pause", "consent")
        answer = await http.post(address, json={"by": "u-cral"}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, session.heard) == (409, [])
