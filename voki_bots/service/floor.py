"""Who waits in which queue, and which agents are there: what the service hears of departments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends

from voki_bots.calls import (
    CallAssigned,
    CustomerDequeued,
    CustomerQueued,
    PresenceChanged,
    QueueUpdated,
    ServiceEvent,
)
from voki_bots.service.access import Access, Principal

MOST = 2_000
"""Departments, and in each people who wait and agents, of which anything is kept."""


@dataclass(slots=True)
class _Waiting:
    name: str
    position: int | None
    since: float


@dataclass(slots=True)
class _Department:
    queue: OrderedDict[str, _Waiting] = field(default_factory=OrderedDict)
    agents: OrderedDict[str, PresenceChanged] = field(default_factory=OrderedDict)
    updated: QueueUpdated | None = None
    presence: bool = False


class Floor:
    """Queues and agents of one tenant's departments.

    Args:
        tenant: Whose.
        clock: Seconds.
        presence: Departments whose agents are followed.
    """

    def __init__(self, tenant: str, clock: Callable[[], float], presence: tuple[str, ...] = ()) -> None:
        self._tenant = tenant
        self._clock = clock
        self._departments: OrderedDict[str, _Department] = OrderedDict()
        for name in presence:
            self._department(name).presence = True

    def take(self, event: ServiceEvent) -> None:
        """Take note of what happened."""
        match event:
            case CustomerQueued(department_id=name, call_id=call):
                queue = self._department(name).queue
                since = queue[call].since if call in queue else self._clock()
                queue[call] = _Waiting(event.customer_name, event.position, since)
                _trim(queue)
            case CustomerDequeued(call_id=call) | CallAssigned(call_id=call):
                for department in self._departments.values():
                    department.queue.pop(call, None)
            case QueueUpdated(department_id=name):
                department = self._department(name)
                department.updated = event
                if event.queue_size == 0:  # who left without a word has left all the same
                    department.queue.clear()
            case PresenceChanged(department_id=name, user_id=who, change=change):
                agents = self._department(name).agents
                agents.pop(who, None)
                if change != "offline":
                    agents[who] = event
                    _trim(agents)

    def shown(self) -> dict[str, Any]:
        """What is known now."""
        now = self._clock()
        return {
            "configured": bool(self._departments),
            "departments": [
                {
                    "id": name,
                    "queue": [
                        {
                            "call": call,
                            "name": each.name,
                            "position": each.position,
                            "waiting": round(now - each.since, 1),
                        }
                        for call, each in department.queue.items()
                    ],
                    "agents": [
                        {"id": who, "name": each.name, "status": each.status, "call": each.current_call_id}
                        for who, each in department.agents.items()
                    ],
                    "presence": department.presence,
                    "wait": department.updated.avg_wait_time if department.updated else None,
                }
                for name, department in self._departments.items()
            ],
        }

    def routes(self, access: Access) -> APIRouter:
        """Make the route."""
        router = APIRouter(tags=["floor"])

        @router.get("/api/v1/floor")
        async def floor(who: Principal = Depends(access.viewer)) -> dict[str, Any]:
            """The queues and agents of departments that are followed."""
            return self.shown() if who.sees(self._tenant) else {"configured": False, "departments": []}

        return router

    def _department(self, name: str) -> _Department:
        found = self._departments.setdefault(name, _Department())
        _trim(self._departments)
        return found


def _trim(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > MOST:
        kept.popitem(last=False)
