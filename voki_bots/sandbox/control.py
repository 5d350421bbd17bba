"""The control API under ``/sandbox``: what a test or a demo tells the sandbox to do."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..errors import ConfigurationError
from . import keys
from .accounts import ROLES, User
from .faults import Fault, happen
from .people import Person
from .platform import Department, Platform
from .rest import iso
from .room import Member, Room
from .script import SUPERVISION, PersonScript

NOTIFICATIONS = ("call_assigned", "appointment_reminder", "system")
STATUSES = ("online", "busy", "away")

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.can_read_body:
        return {}
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ConfigurationError("the body is a JSON object")
    return body


def _checked(endpoint: Endpoint) -> Endpoint:
    async def check(request: web.Request) -> web.StreamResponse:
        try:
            return await endpoint(request)
        except ConfigurationError as mistake:
            return web.json_response({"error": str(mistake), "path": mistake.path}, status=422)

    return check


class Control:
    """The routes under ``/sandbox``."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        call = "/sandbox/calls/{id}"
        person = call + "/people/{person}"
        return [
            web.post("/sandbox/users", _checked(self._add_user)),
            web.post("/sandbox/users/{user}/notifications", _checked(self._notify)),
            web.post("/sandbox/users/{user}/appointments", _checked(self._remind)),
            web.put("/sandbox/users/{user}/status", _checked(self._set_status)),
            web.post("/sandbox/departments", _checked(self._add_department)),
            web.put("/sandbox/departments/{id}/agents/{user}", _checked(self._add_agent)),
            web.delete("/sandbox/departments/{id}/agents/{user}", _checked(self._remove_agent)),
            web.post("/sandbox/calls", _checked(self._add_call)),
            web.get(call, _checked(self._show)),
            web.post(call + "/assign", _checked(self._assign)),
            web.post(call + "/end", _checked(self._end)),
            web.post(call + "/supervision", _checked(self._supervise)),
            web.post(call + "/faults", _checked(self._fault)),
            web.post(call + "/people", _checked(self._add_person)),
            web.delete(person, _checked(self._remove_person)),
            web.post(person + "/digits", _checked(self._press)),
            web.get(person + "/sent", _checked(self._sent)),
            web.get(person + "/heard", _checked(self._heard)),
            web.get(person + "/heard/{mid}", _checked(self._heard_file)),
            web.get(person + "/heard/{mid}/packets", _checked(self._heard_packets)),
            web.post("/sandbox/broadcast", _checked(self._broadcast)),
            web.put("/sandbox/turn", _checked(self._turn)),
        ]

    async def _add_user(self, request: web.Request) -> web.Response:
        body = await _body(request)
        role = body.get("role", "supervisor")
        if role not in ROLES:
            raise ConfigurationError(f"a user's role is one of {', '.join(ROLES)}", path="role")
        user = self._platform.accounts.add(
            str(body.get("name", role)),
            role,
            password=str(body.get("password", self._platform.options.password)),
        )
        user.email = str(body.get("email", f"{user.user_id[:8]}@sandbox.test"))
        user.totp_secret = body.get("totp_secret")
        return web.json_response({"user_id": user.user_id, "email": user.email, "password": user.password})

    async def _turn(self, request: web.Request) -> web.Response:
        """Name TURN servers from now on; tell how often credentials were given so far."""
        turn = self._platform.turn
        turn.change(await _body(request))
        return web.json_response({"asked": turn.asked})

    async def _add_department(self, request: web.Request) -> web.Response:
        body = await _body(request)
        switches = body.get("switches", {})
        if not isinstance(switches, dict):
            raise ConfigurationError("switches is an object", path="switches")
        department = self._platform.add_department(str(body.get("name", "Support")), switches)
        return web.json_response({"department_id": department.department_id, "token": department.token})

    def _user(self, request: web.Request) -> User:
        user = self._platform.accounts.users.get(request.match_info["user"])
        if user is None:
            raise web.HTTPNotFound(text="there is no such user")
        return user

    async def _notify(self, request: web.Request) -> web.Response:
        user, body = self._user(request), await _body(request)
        kind, said = body.get("type", "system"), body.get("data", {})
        if kind not in NOTIFICATIONS or not isinstance(said, dict):
            raise ConfigurationError(
                f"type is one of {', '.join(NOTIFICATIONS)}, data an object", path="type"
            )
        title, text = str(body.get("title", "Notice")), str(body.get("body", ""))
        self._platform.notify(user.user_id, kind, title=title, body=text, data=said)
        return web.json_response({})

    async def _remind(self, request: web.Request) -> web.Response:
        """Make an appointment in `minutes_until` minutes, and remind of it in `after` seconds."""
        user, body = self._user(request), await _body(request)
        minutes, after = _number(body, "minutes_until", 15), _number(body, "after", 0)
        moment = self._platform.wall() + after + 60 * minutes
        appointment = {
            "appointment_id": self._platform.accounts.new_id(),
            "title": str(body.get("title", "Appointment")),
            "scheduled_at": iso(moment),
            "customer_name": str(body.get("customer_name", "")),
            "minutes_until": int(minutes),
        }

        async def remind() -> None:
            await asyncio.sleep(after)
            self._platform.remind(user.user_id, appointment)

        self._platform.tasks.start(remind(), "reminder")
        return web.json_response(appointment)

    async def _set_status(self, request: web.Request) -> web.Response:
        user, body = self._user(request), await _body(request)
        self._platform.set_status(user.user_id, *_status(body))
        return web.json_response({})

    async def _add_agent(self, request: web.Request) -> web.Response:
        """Let a user be present in a department without a socket of his own."""
        user, body = self._user(request), await _body(request)
        department = self._department(request.match_info["id"])
        status, call_id = _status(body)
        topic = f"presence:{department.department_id}"
        meta = {"name": user.name, "status": status, "current_call_id": call_id}
        presences = self._platform.presences
        if not presences.update(self, topic, user.user_id, meta):
            presences.track(self, topic, user.user_id, meta)
        return web.json_response({})

    async def _remove_agent(self, request: web.Request) -> web.Response:
        department = self._department(request.match_info["id"])
        topic = f"presence:{department.department_id}"
        self._platform.presences.untrack(self, topic, self._user(request).user_id)
        return web.json_response({})

    def _department(self, department_id: object) -> Department:
        departments = self._platform.departments
        if department_id is None:
            return next(iter(departments.values()))
        if department_id not in departments:
            raise ConfigurationError("there is no such department", path="department_id")
        return departments[str(department_id)]

    async def _add_call(self, request: web.Request) -> web.Response:
        body = await _body(request)
        status = body.get("status", "active")
        if status not in ("active", "queued", "assigned"):
            raise ConfigurationError("status is active, queued or assigned", path="status")
        scripts = [PersonScript.parse(person) for person in body.get("people", [])]
        for index, script in enumerate(scripts):
            script.packets(index)
        room = make_call(
            self._platform,
            self._department(body.get("department_id")),
            scripts,
            body.get("switches", {}),
            status,
        )
        people = [_introduced(person) for person in room.people.values()]
        return web.json_response({"call_id": room.record.call_id, "people": people})

    def _room(self, request: web.Request) -> Room:
        room = self._platform.rooms.get(request.match_info["id"])
        if room is None:
            raise web.HTTPNotFound(text="there is no such call")
        return room

    def _person(self, request: web.Request) -> Person:
        person = self._room(request).people.get(request.match_info["person"])
        if person is None:
            raise web.HTTPNotFound(text="there is no such person")
        return person

    async def _assign(self, request: web.Request) -> web.Response:
        room, body = self._room(request), await _body(request)
        attendants = [p.user for p in room.people.values() if p.script.role == "attendant"]
        user = self._platform.accounts.users.get(body.get("user_id", ""))
        if user is None:
            user = attendants[0] if attendants else self._platform.accounts.add("Attendant", "attendant")
        self._platform.assign(room, user)
        return web.json_response({"user_id": user.user_id})

    async def _end(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self._platform.end(self._room(request), str(body.get("reason", "completed")))
        return web.json_response({})

    async def _supervise(self, request: web.Request) -> web.Response:
        room, body = self._room(request), await _body(request)
        mode = body.get("mode")
        if mode not in SUPERVISION:
            raise ConfigurationError(f"mode is one of {', '.join(SUPERVISION)}", path="mode")
        supervisor = self._platform.accounts.users.get(str(body.get("user_id")))
        if supervisor is None:
            supervisor = self._platform.accounts.add(str(body.get("name", "Supervisor")), "supervisor")
        self._platform.supervise(room, mode, supervisor)
        return web.json_response({"user_id": supervisor.user_id})

    async def _fault(self, request: web.Request) -> web.Response:
        room, fault = self._room(request), Fault.parse(await _body(request))
        happening = self._platform.tasks.start(happen(self._platform, room, fault), f"fault {fault.name}")
        if fault.after == 0.0:
            await asyncio.wait({happening})
        return web.json_response({})

    async def _add_person(self, request: web.Request) -> web.Response:
        person = self._room(request).invite(PersonScript.parse(await _body(request)))
        return web.json_response(_introduced(person))

    async def _remove_person(self, request: web.Request) -> web.Response:
        self._person(request).leaving.set()
        return web.json_response({})

    async def _press(self, request: web.Request) -> web.Response:
        """Let somebody press keys of their telephone."""
        person, body = self._person(request), await _body(request)
        digits, seconds = str(body.get("digits", "")), _number(body, "seconds", 0.1)
        keys.check(digits, seconds)
        person.press(digits, seconds)
        return web.json_response({})

    async def _sent(self, request: web.Request) -> web.Response:
        person = self._person(request)
        wall, monotonic = person.first_packet_at or (0.0, 0.0)
        headers = {"X-Start-Wall": repr(wall), "X-Start-Monotonic": repr(monotonic)}
        body = await asyncio.to_thread(person.sent_file)
        return web.Response(body=body, content_type="audio/ogg", headers=headers)

    async def _heard(self, request: web.Request) -> web.Response:
        room, person = self._room(request), self._person(request)
        who = _lines(room.members.get(person.id))
        tracks = [
            {
                "mid": h.mid,
                "ssrc": h.ssrc,
                "packets": h.packets,
                "first_at": h.first_at,
                "from": who.get(h.mid),
            }
            for h in person.heard.values()
        ]
        return web.json_response({"tracks": tracks})

    async def _heard_file(self, request: web.Request) -> web.Response:
        mid, ssrc = request.match_info["mid"], request.query.get("ssrc")
        for heard in self._person(request).heard.values():
            if heard.mid == mid and ssrc in (None, str(heard.ssrc)):
                body = await asyncio.to_thread(self._person(request).heard_file, heard)
                return web.Response(body=body, content_type="audio/ogg")
        raise web.HTTPNotFound(text="nothing was heard on this line")

    async def _heard_packets(self, request: web.Request) -> web.Response:
        """What a listening person received on a line: unix seconds, RTP timestamp and payload of each."""
        found = [h for h in self._person(request).heard.values() if h.mid == request.match_info["mid"]]
        packets = [
            [at, timestamp, base64.b64encode(payload).decode()]
            for heard in found
            for at, (timestamp, payload) in zip(heard.arrived, heard.kept, strict=True)
        ]
        return web.json_response({"packets": packets})

    async def _broadcast(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if not isinstance(body.get("topic"), str) or not isinstance(body.get("event"), str):
            raise ConfigurationError("topic and event are text", path="topic")
        self._platform.hub.broadcast(body["topic"], body["event"], body.get("payload", {}))
        return web.json_response({})

    async def _show(self, request: web.Request) -> web.Response:
        room = self._room(request)
        bots = [m for m in (*room.past, *room.members.values()) if m.bot]
        record = room.record
        shown = {
            "call_id": record.call_id,
            "status": record.status,
            "attendant": record.user_id,
            "created_at": record.inserted_at,
            "people": [_shown_person(person) for person in room.people.values()],
            "bots": [_shown_bot(member) for member in bots],
        }
        return web.json_response(shown)


def _number(body: dict[str, Any], name: str, default: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ConfigurationError(f"{name} is a number that is not negative", path=name)
    return float(value)


def _status(body: dict[str, Any]) -> tuple[str, str | None]:
    status, call_id = body.get("status", "online"), body.get("call_id")
    if status not in STATUSES:
        raise ConfigurationError(f"status is one of {', '.join(STATUSES)}", path="status")
    return status, None if call_id is None else str(call_id)


def make_call(
    platform: Platform,
    department: Department,
    scripts: list[PersonScript],
    switches: dict[str, object],
    status: str = "active",
) -> Room:
    """Make a call with people in it.

    Raises:
        ConfigurationError: A switch, a language or an asset does not exist.
    """
    customer = next((s.name for s in scripts if s.role == "customer"), "")
    room = platform.add_call(
        department,
        status="queued" if status == "assigned" else status,
        customer_name=customer,
        switches=switches,
    )
    people = [room.invite(script) for script in scripts]
    attendant = next((p.user for p in people if p.script.role == "attendant"), None)
    if status == "assigned":
        platform.assign(room, attendant or platform.accounts.add("Attendant", "attendant"))
    elif status == "active" and attendant is not None:
        room.record.user_id, room.record.user_name = attendant.user_id, attendant.name
    return room


def _introduced(person: Person) -> dict[str, Any]:
    return {"id": person.id, "user_id": person.id, "name": person.user.name, "role": person.user.role}


def _shown_person(person: Person) -> dict[str, Any]:
    first = person.first_packet_at
    return {
        **_introduced(person),
        "connected": person.connected.is_set() and person.left_at is None,
        "joined_at": person.joined_at,
        "left_at": person.left_at,
        "packets_sent": len(person.sent),
        "first_packet_at": first[0] if first else None,
    }


def _lines(member: Member | None) -> dict[str, str]:
    """By mid, whose audio each line of a participant carries."""
    if member is None or member.leg is None:
        return {}
    return {str(f.transceiver.mid): f.source.user_id for f in member.leg.forwards.values()}


def _shown_bot(member: Member) -> dict[str, Any]:
    leg = member.leg
    return {
        "user_id": member.user_id,
        "joined_at": member.joined_at,
        "signalling": member.token is not None,
        "connected": leg is not None and leg.connected,
        "connected_at": member.connected_at,
        "connections": leg.connections if leg else 0,
        "forwarded": dict(leg.totals) if leg else {},
        "lines": _lines(member),
        "received": leg.received if leg else 0,
        "reports": sum(f.stream.reports_received for f in leg.forwards.values()) if leg else 0,
        "offers_sent": leg.offers_sent if leg else 0,
        "offers_received": leg.offers_received if leg else 0,
        "glares": leg.glares if leg else 0,
        "signals": [kind for _, kind in member.signals],
        "muted": member.muted,
    }
