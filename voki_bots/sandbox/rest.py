"""Voki's REST API, as far as its documents show it."""

from __future__ import annotations

import datetime
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from .accounts import Identity, User
from .platform import Platform
from .room import CallRecord, Room
from .script import SUPERVISION

_RANKS = {"customer": 0, "attendant": 1, "supervisor": 2, "manager": 3}

Endpoint = Callable[[web.Request, Identity], Awaitable[web.Response]]


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"errors": {"detail": detail}}, status=status)


def _invalid(**fields: str) -> web.Response:
    return web.json_response({"errors": {name: [why] for name, why in fields.items()}}, status=422)


def iso(unix: float | None) -> str | None:
    """Write unix seconds as the API does."""
    if unix is None:
        return None
    return datetime.datetime.fromtimestamp(unix, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


class Rest:
    """The routes under ``/api``."""

    def __init__(self, platform: Platform, socket_url: Callable[[], str]) -> None:
        self._platform = platform
        self._accounts = platform.accounts
        self._socket_url = socket_url
        self._sign_ins: deque[float] = deque()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        guarded = self._guarded
        return [
            web.post("/api/auth/login", self._login),
            web.post("/api/auth/refresh", self._refresh),
            web.post("/api/auth/mfa/verify", self._verify),
            web.post("/api/auth/logout", guarded(self._logout, "attendant")),
            web.get("/api/v1/users/me", guarded(self._me, "attendant")),
            web.get("/api/v1/departments", guarded(self._departments, "supervisor")),
            web.get("/api/v1/calls", guarded(self._calls, "attendant")),
            web.get("/api/v1/calls/{id}", guarded(self._call, "attendant")),
            web.post("/api/v1/calls/{id}/assign", guarded(self._assign, "attendant")),
            web.post("/api/v1/calls/{id}/start", guarded(self._start, "attendant")),
            web.post("/api/v1/calls/{id}/supervise", guarded(self._supervise, "supervisor")),
            web.post("/api/v1/calls/{id}/complete", guarded(self._complete, "attendant")),
            web.get("/api/v1/turn/credentials", guarded(self._turn, "attendant")),
            web.get("/api/v1/call/turn-credentials", self._public_turn),
            web.get("/api/v1/call/{token}/validate", self._validate),
            web.post("/api/v1/call/{token}/join", self._join),
        ]

    def _guarded(self, endpoint: Endpoint, rank: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guard(request: web.Request) -> web.Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            identity = self._accounts.verify(token) if scheme == "Bearer" else None
            if identity is None or request.headers.get("X-Tenant") != self._accounts.tenant:
                return _problem(401, "Unauthorized")
            if _RANKS[identity.user.role] < _RANKS[rank]:
                return _problem(403, "Forbidden")
            return await endpoint(request, identity)

        return guard

    # ------------------------------------------------------------ sign-in

    def _too_many(self) -> web.Response | None:
        limit, now = self._platform.options.auth_limit, self._platform.wall()
        while self._sign_ins and self._sign_ins[0] <= now - 60:
            self._sign_ins.popleft()
        if limit is not None and len(self._sign_ins) >= limit:
            refused = _problem(429, "Too many requests")
            if self._platform.options.retry_after:
                left = self._sign_ins[0] + 60 - now if self._sign_ins else 60.0
                refused.headers["Retry-After"] = str(math.ceil(left))
            return refused
        self._sign_ins.append(now)
        return None

    async def _login(self, request: web.Request) -> web.Response:
        if (refused := self._too_many()) is not None:
            return refused
        body = await _body(request)
        missing = [n for n in ("email", "password", "tenant") if not isinstance(body.get(n), str)]
        if missing:
            return _invalid(**dict.fromkeys(missing, "can't be blank"))
        user = self._accounts.sign_in(body["email"], body["password"])
        if user is None or body["tenant"] != self._accounts.tenant:
            return _problem(401, "Invalid credentials")
        if user.totp_secret is not None:
            return web.json_response(
                {"data": {"mfa_required": True, "mfa_token": self._accounts.challenge(user)}}
            )
        return self._signed_in(user)

    async def _verify(self, request: web.Request) -> web.Response:
        if (refused := self._too_many()) is not None:
            return refused
        body = await _body(request)
        missing = [n for n in ("mfa_token", "code") if not isinstance(body.get(n), str)]
        if missing:
            return _invalid(**dict.fromkeys(missing, "can't be blank"))
        user = self._accounts.answer(body["mfa_token"], body["code"])
        return self._signed_in(user) if user is not None else _problem(401, "Invalid code")

    def _signed_in(self, user: User) -> web.Response:
        described = {
            "id": user.user_id,
            "name": user.name,
            "email": user.email,
            "role": user.role,
            "avatar_url": None,
            "mfa_enabled": user.totp_secret is not None,
        }
        tokens = {
            "access_token": self._accounts.access_token(user),
            "refresh_token": self._accounts.refresh_token(user),
            "user": described,
        }
        return web.json_response({"data": tokens})

    async def _refresh(self, request: web.Request) -> web.Response:
        if (refused := self._too_many()) is not None:
            return refused
        token = (await _body(request)).get("refresh_token")
        if not isinstance(token, str):
            return _invalid(refresh_token="can't be blank")  # noqa: S106 - the text of a validation error
        found = self._accounts.refreshed(token)
        if found is None:
            return _problem(401, "Invalid refresh token")
        user, following = found
        tokens = {"access_token": self._accounts.access_token(user)}
        if following != token:
            tokens["refresh_token"] = following
        return web.json_response({"data": tokens})

    async def _logout(self, request: web.Request, identity: Identity) -> web.Response:
        self._accounts.sign_out(identity)
        return web.Response(status=204)

    async def _me(self, request: web.Request, identity: Identity) -> web.Response:
        user = identity.user
        made = iso(0.0)
        described = {
            "id": user.user_id,
            "name": user.name,
            "email": user.email,
            "role": user.role,
            "active": True,
            "avatar_url": None,
            "mfa_enabled": user.totp_secret is not None,
            "locale": "pt-BR",
            "inserted_at": made,
            "updated_at": made,
        }
        return web.json_response({"data": described})

    # ------------------------------------------------------------ departments and calls

    async def _departments(self, request: web.Request, identity: Identity) -> web.Response:
        listed = [
            {"id": d.department_id, "name": d.name, "identifier": d.name.lower(), "active": True}
            for d in self._platform.departments.values()
        ]
        return self._page(request, sorted(listed, key=lambda d: str(d["name"])))

    def _page(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        try:
            page = max(1, int(request.query.get("page", 1)))
            size = min(100, max(1, int(request.query.get("page_size", 20))))
        except ValueError:
            return _invalid(page="is invalid")
        meta = {
            "current_page": page,
            "page_size": size,
            "total_pages": -(-len(items) // size),
            "total_count": len(items),
        }
        return web.json_response({"data": items[(page - 1) * size : page * size], "meta": meta})

    async def _calls(self, request: web.Request, identity: Identity) -> web.Response:
        query = request.query
        records = [room.record for room in self._platform.rooms.values()]
        records.sort(key=lambda r: r.inserted_at, reverse=query.get("sort_order", "desc") != "asc")
        shown = [_described(record) for record in records]
        for name in ("status", "department_id", "user_id"):
            if name in query:
                shown = [item for item in shown if item[name] == query[name]]
        return self._page(request, shown)

    def _room(self, request: web.Request) -> Room | None:
        return self._platform.rooms.get(request.match_info["id"])

    async def _call(self, request: web.Request, identity: Identity) -> web.Response:
        room = self._room(request)
        if room is None:
            return _problem(404, "Call not found")
        return web.json_response({"data": _described(room.record)})

    async def _assign(self, request: web.Request, identity: Identity) -> web.Response:
        room = self._room(request)
        if room is None:
            return _problem(404, "Call not found")
        user_id = (await _body(request)).get("user_id", identity.user.user_id)
        user = self._accounts.users.get(user_id)
        if user is None or room.record.over:
            return _invalid(user_id="is invalid")
        self._platform.assign(room, user)
        return web.json_response({"data": _described(room.record)})

    async def _supervise(self, request: web.Request, identity: Identity) -> web.Response:
        room, body = self._platform.rooms.get(request.match_info["id"]), await _body(request)
        if room is None or not room.switches.supervise_by_rest:
            return _problem(404, "Not found")
        if body.get("mode") not in SUPERVISION:
            return _invalid(mode="is invalid")
        self._platform.supervise(room, str(body["mode"]), identity.user)
        return web.json_response({"data": {"mode": body["mode"]}})

    async def _start(self, request: web.Request, identity: Identity) -> web.Response:
        room = self._room(request)
        if room is None:
            return _problem(404, "Call not found")
        if room.record.over:
            return _invalid(status="is invalid")
        self._platform.start(room)
        return web.json_response({"data": _described(room.record)})

    async def _complete(self, request: web.Request, identity: Identity) -> web.Response:
        room = self._room(request)
        if room is None:
            return _problem(404, "Call not found")
        self._platform.end(room, "completed")
        return web.json_response({"data": _described(room.record)})

    # ------------------------------------------------------------ TURN

    def _credentials(self, name: str) -> web.Response:
        return web.json_response({"data": self._platform.turn.credentials(name, self._platform.wall())})

    async def _turn(self, request: web.Request, identity: Identity) -> web.Response:
        return self._credentials(identity.user.user_id)

    async def _public_turn(self, request: web.Request) -> web.Response:
        return self._credentials("public")

    # ------------------------------------------------------------ the widget

    async def _validate(self, request: web.Request) -> web.Response:
        department = self._department(request)
        if department is None:
            return _problem(404, "Invalid or expired access link")
        described = {
            "valid": True,
            "department_name": department.name,
            "company_name": "Sandbox",
            "company_logo_url": None,
            "primary_color": "#6b7280",
            "queue_size": len(department.queue),
            "estimated_wait_time": 0,
            "online_agents": self._platform.online(department.department_id),
        }
        return web.json_response({"data": described})

    def _department(self, request: web.Request) -> Any:
        token = request.match_info["token"]
        return next((d for d in self._platform.departments.values() if d.token == token), None)

    async def _join(self, request: web.Request) -> web.Response:
        department = self._department(request)
        if department is None:
            return _problem(404, "Invalid or expired access link")
        body = await _body(request)
        name = body.get("name")
        if not isinstance(name, str) or not name:
            return _invalid(name="can't be blank")
        room = self._platform.add_call(department, customer_name=name, customer_email=body.get("email"))
        customer = self._accounts.add(name, "customer", call_id=room.record.call_id)
        described = {
            "call_id": room.record.call_id,
            "status": "queued",
            "position": len(department.queue),
            "estimated_wait_time": 0,
            "websocket_token": self._accounts.access_token(customer),
            "websocket_url": self._socket_url(),
        }
        return web.json_response({"data": described})


def _described(record: CallRecord) -> dict[str, Any]:
    return {
        "id": record.call_id,
        "status": "queued" if record.status == "assigned" else record.status,
        "department_id": record.department_id,
        "department_name": record.department_name,
        "user_id": record.user_id,
        "user_name": record.user_name,
        "customer_name": record.customer_name,
        "customer_email": record.customer_email,
        "customer_phone": None,
        "started_at": iso(record.started_at),
        "completed_at": iso(record.completed_at),
        "inserted_at": iso(record.inserted_at),
    }
