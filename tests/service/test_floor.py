"""Queues and agents, as the service hears of them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.service.served import made
from voki_bots.calls import CallAssigned, CustomerDequeued, CustomerQueued, PresenceChanged, QueueUpdated
from voki_bots.service.access import Access, Grant, Principal, Rank
from voki_bots.service.floor import MOST, Floor


def waiting(floor: Floor) -> list[tuple[str, float]]:
    return [(each["call"], each["waiting"]) for each in floor.shown()["departments"][0]["queue"]]


def test_who_waits_is_there_until_they_are_not() -> None:
    """Assigned, gone, or all at once by a size of none; a repeated event does not begin the wait anew."""
    now = 0.0
    floor = Floor("acme", lambda: now)
    assert floor.shown() == {"configured": False, "departments": []}
    floor.take(CustomerQueued("d", "a", "Carlos", 1))
    now = 5.0
    floor.take(CustomerQueued("d", "b", "Kim", 2))
    floor.take(CustomerQueued("d", "a", "Carlos", 1))
    now = 7.0
    assert waiting(floor) == [("a", 7.0), ("b", 2.0)]
    floor.take(CallAssigned("", "a", "u-1"))
    assert waiting(floor) == [("b", 2.0)]
    floor.take(CustomerDequeued("d", "b", "timeout"))
    assert waiting(floor) == []
    floor.take(CustomerQueued("d", "c"))
    floor.take(QueueUpdated("d", queue_size=0, avg_wait_time=12.0))
    assert waiting(floor) == []
    assert floor.shown()["departments"][0]["wait"] == 12.0


def test_agents_come_change_and_go() -> None:
    """Where their presence is followed, which is said."""
    floor = Floor("acme", lambda: 0.0, ("d",))
    for status, change in (("available", "online"), ("busy", "changed")):
        floor.take(PresenceChanged("d", "u-1", change, "Ana", status, "a" if status == "busy" else None))
    (department,) = floor.shown()["departments"]
    assert (department["presence"], department["agents"]) == (
        True,
        [{"id": "u-1", "name": "Ana", "status": "busy", "call": "a"}],
    )
    floor.take(PresenceChanged("d", "u-1", "offline"))
    assert floor.shown()["departments"][0]["agents"] == []


def test_what_is_kept_is_bounded() -> None:
    """A platform that never says that people left fills nothing."""
    floor = Floor("acme", lambda: 0.0)
    for n in range(MOST + 5):
        floor.take(CustomerQueued("d", str(n)))
    assert len(waiting(floor)) == MOST


async def test_other_tenants_see_nothing_of_it() -> None:
    """Nor does whoever has no token."""
    people = [
        Grant(Principal(name, Rank.VIEWER, frozenset({tenant})), f"a-token-of-{name}-here")
        for name, tenant in (("ana", "acme"), ("kim", "other"))
    ]
    access, floor = Access(None, people), Floor("acme", lambda: 0.0)
    floor.take(CustomerQueued("d", "a", "Carlos"))
    app: Any = made(access, routers=[floor.routes(access)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        found = [
            (await http.get("/api/v1/floor", headers={"Authorization": f"Bearer {each.token}"})).json()
            for each in people
        ]
        assert (await http.get("/api/v1/floor")).status_code == 401
    assert [len(each["departments"]) for each in found] == [1, 0]
