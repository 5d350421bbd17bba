"""A Phoenix application beside Voki's, that does on demand whatever a channel can do.

It judges this server, by other people's clients and by recordings of real servers, and it judges our client.
It is there only if `SandboxOptions.conformance` asks for it, has sockets of its own (those whose token reads
``user:ana``), and shares nothing with the platform but the framing that is judged.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .options import SandboxOptions
from .phoenix import Hub, Socket
from .presence import Presences
from .tasks import Tasks
from .testchannels import route

_VERSIONS = {"1.7": "1.7.24", "1.8": "1.8.12"}


class Conformance:
    """The test application: who may connect, and what is asked of it over HTTP.

    Tokens: ``user:<id>`` is good; ``expire_in:<ms>:<id>`` is good until that long after its first use, then
    the user's sockets are disconnected. Everything else is refused.

    Args:
        options: The sandbox's options.
        tasks: What channels run in.
        clock: Seconds that never go back.
    """

    def __init__(self, options: SandboxOptions, tasks: Tasks, clock: Callable[[], float]) -> None:
        self.tasks = tasks
        self.hub: Hub[str] = Hub(self._route, tasks, options.dialect, options.idle_timeout)
        self.presences = Presences(lambda topic, diff: self.hub.broadcast(topic, "presence_diff", diff))
        self.tries: Counter[str] = Counter()
        self._options = options
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._timers: list[asyncio.TimerHandle] = []

    def _route(self, topic: str, user_id: str) -> Any:
        return route(self, topic, user_id)

    def admit(self, token: str) -> str | None:
        """Return the id of the user whose token this is, or None if it is no good (any more)."""
        if found := re.fullmatch(r"user:(.+)", token):
            return found[1]
        if not (found := re.fullmatch(r"expire_in:(\d{1,9}):(.+)", token)):
            return None
        life, user_id = int(found[1]) / 1000, found[2]
        if token not in self._ends:
            self._ends[token] = self._clock() + life
            timer = asyncio.get_running_loop().call_later(life, self.disconnect, user_id)
            self._timers.append(timer)
        return user_id if self._clock() < self._ends[token] else None

    def disconnect(self, user_id: str) -> None:
        """End a user's sockets, as the broadcast of ``disconnect`` to a socket id does."""
        for socket in self._sockets():
            if socket.user == user_id:
                socket.close(self.hub.dialect.disconnect_code)

    def _sockets(self) -> list[Socket[str]]:
        return list(self.hub.sockets)

    def close(self) -> None:
        """Drain every socket."""
        for timer in self._timers:
            timer.cancel()
        for socket in self._sockets():
            socket.close(1012)

    # ------------------------------------------------------------ HTTP

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        return [
            web.get("/health", self._health),
            web.get("/version", self._version),
            web.post("/broadcast", self._broadcast),
            web.post("/disconnect/{id}", self._disconnect),
        ]

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _version(self, request: web.Request) -> web.Response:
        spoken = {"phoenix": _VERSIONS[self._options.phoenix], "adapter": self._options.adapter}
        return web.json_response({**spoken, "server": "voki-bots sandbox"})

    async def _broadcast(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            topic, event = body["topic"], body["event"]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "the body is {topic, event, payload}"}, status=422)
        if not isinstance(topic, str) or not isinstance(event, str):
            return web.json_response({"error": "topic and event are text"}, status=422)
        self.hub.broadcast(topic, event, body.get("payload", {}))
        return web.json_response({})

    async def _disconnect(self, request: web.Request) -> web.Response:
        self.disconnect(request.match_info["id"])
        return web.json_response({})
