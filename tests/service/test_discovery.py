"""How calls are found: by events, by polling, and by both at once, each call once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from voki_bots import Bot, Rule
from voki_bots.testing.sim import Sim, SimCall

pytestmark = pytest.mark.journey


async def department(sim: Sim) -> str:
    return str((await sim.control("POST", "/departments", {}))["department_id"])


def attending(service: Any, call: SimCall) -> Callable[[], Any]:
    """A question to the service whether it is in that call."""

    async def row() -> bool:
        rows = json.loads((await service.get("/api/v1/calls"))[1])
        return any(row["call"] == call.id and row["state"] == "attending" for row in rows)

    return row


def minutes(where: str) -> Bot:
    return Bot("minutes", join=Rule(departments=(where,))).record()


async def test_a_lost_event_costs_at_most_one_poll(sim: Sim, running: Callable[..., Any]) -> None:
    """A call that no event told of is attended after the next look at the list."""
    where = await department(sim)
    async with running(minutes(where), service="poll = 2") as service:
        call = await sim.call(department_id=where)  # begins as active: no queue event is sent
        began = asyncio.get_running_loop().time()
        await service.until(attending(service, call), "the call being attended")
        assert asyncio.get_running_loop().time() - began < 2 * 1.1 + 1.5


async def test_an_event_needs_no_poll(sim: Sim, running: Callable[..., Any]) -> None:
    """An assignment is followed at once, though the next look at the list is far away."""
    where = await department(sim)
    async with running(minutes(where), service="poll = 600") as service:
        call = await sim.call(department_id=where, status="queued")
        await joined(sim, f"queue:{where}", service)
        await sim.control("POST", f"/calls/{call.id}/assign", {})
        await service.until(attending(service, call), "the call being attended")


async def test_a_notification_needs_no_poll(sim: Sim, running: Callable[..., Any]) -> None:
    """Nor does one of the user's own topic."""
    where = await department(sim)
    async with running(minutes(where), service="poll = 600") as service:
        call = await sim.call(department_id=where)
        payload = {"type": "call_assigned", "title": "", "body": "", "data": {"call_id": call.id}}
        topic = f"notification:{service.user_id}"
        await joined(sim, topic, service)
        await told(sim, topic, "new_notification", payload)
        await service.until(attending(service, call), "the call being attended")


async def test_duplicates_start_nothing(sim: Sim, running: Callable[..., Any]) -> None:
    """The list, the queue and the user's topic tell of one call again and again: it is attended once."""
    where = await department(sim)
    async with running(minutes(where)) as service:
        call = await sim.call(department_id=where)
        await joined(sim, f"queue:{where}", service)
        assigned = {"call_id": call.id, "user_id": "u-1", "user_name": "Ana"}
        for _ in range(5):
            await told(sim, f"queue:{where}", "call_assigned", assigned)
        await service.until(attending(service, call), "the call being attended")
        for _ in range(5):
            await told(sim, f"queue:{where}", "call_assigned", assigned)
        await asyncio.sleep(1.2)  # two more looks at the list
        _, metrics = await service.get("/metrics")
    assert 'voki_bots_calls_attended_total{bot="minutes"} 1.0' in metrics


async def test_a_socket_that_is_back_polls_at_once(sim: Sim, running: Callable[..., Any]) -> None:
    """What happened while it was away is found, though the next look at the list is far away."""
    where = await department(sim)
    async with running(minutes(where), service="poll = 600") as service:
        first = await sim.call(department_id=where)
        await joined(sim, f"queue:{where}", service)
        await told(sim, f"queue:{where}", "call_assigned", {"call_id": first.id})
        await service.until(attending(service, first), "the first call being attended")
        second = await sim.call(department_id=where)
        await first.fault("drop_socket")
        await service.until(attending(service, second), "the second call being found")


async def joined(sim: Sim, topic: str, service: Any) -> None:
    """Wait until the service hears a topic: an event of no consequence arrives."""
    event, payload = (
        ("queue_update", {"queue_size": 0})
        if topic.startswith("queue:")
        else ("new_notification", {"type": "system", "title": "", "body": ""})
    )

    async def heard() -> bool:
        await told(sim, topic, event, payload)
        return "voki_bots_service_events_total{" in (await service.get("/metrics"))[1]

    await service.until(heard, f"{topic} being heard")


async def told(sim: Sim, topic: str, event: str, payload: dict[str, Any]) -> None:
    await sim.control("POST", "/broadcast", {"topic": topic, "event": event, "payload": payload})
