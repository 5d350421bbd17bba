"""The sandbox as a whole: one HTTP server with REST, sockets and the control API."""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from .accounts import ROLES, Identity
from .conformance import Conformance
from .control import Control, make_call
from .frames import serializer_for
from .options import SandboxOptions
from .phoenix import Socket
from .platform import Platform
from .rest import Rest
from .script import PersonScript
from .tasks import Tasks

BANNER = "voki-bots sandbox: a Voki to develop against. It is no production server and protects nothing."

_PROTOCOL = "phoenix"
_TOKEN_PROTOCOL = "base64url.bearer.phx."  # noqa: S105 - a prefix; the token follows

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Sandbox:
    """A whole Voki in this process, from ``async with`` to its end.

    Args:
        options: How it is run.
        wall: Unix seconds; what tokens are measured by.
    """

    def __init__(
        self, options: SandboxOptions | None = None, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.options = options or SandboxOptions()
        self._wall = wall
        self._tasks = Tasks()
        self._conformance: Conformance | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._expiries: set[asyncio.TimerHandle] = set()

    async def __aenter__(self) -> Self:
        options = self.options
        loopback = options.host in _LOOPBACK
        self.platform = Platform(
            options,
            addresses=("127.0.0.1",) if loopback else (options.host,),
            wall=self._wall,
            tasks=self._tasks,
            choose=random.Random(options.seed),  # noqa: S311 - reproducible, and no production server
        )
        self._rest = Rest(self.platform, lambda: self.socket_url)
        self._bot = self.platform.accounts.add(
            "Bot", "supervisor", email=options.email, password=options.password
        )
        self._department = self.platform.add_department()
        self._call_id: str | None = None
        if options.default_call:
            self._call_id = self._make_default_call()
        app = web.Application(client_max_size=2**20)
        app.add_routes([web.route("*", "/socket/websocket", self._socket)])
        app.add_routes(self._rest.routes())
        app.add_routes(Control(self.platform).routes())
        if options.conformance:
            self._conformance = Conformance(options, self._tasks, asyncio.get_running_loop().time)
            app.add_routes(self._conformance.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, options.host, options.port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for expiry in self._expiries:
            expiry.cancel()
        if self._conformance is not None:
            self._conformance.close()
        await self.platform.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._tasks.stop()

    def _make_default_call(self) -> str:
        speech = self.options.language
        scripts = [
            PersonScript(name="Ana", role="attendant", speech=speech, joins="after_bot"),
            PersonScript(name="Carlos", role="customer", speech=speech, joins="after_bot"),
        ]
        return make_call(self.platform, self._department, scripts, {}).record.call_id

    # ------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """The base of REST."""
        return f"http://{self.options.host}:{self._port}"

    @property
    def socket_url(self) -> str:
        """The websocket, without its query."""
        return f"ws://{self.options.host}:{self._port}/socket/websocket"

    def ready(self) -> dict[str, Any]:
        """Return what the line says that is printed once the sandbox is ready."""
        accounts = self.platform.accounts
        tokens = {"supervisor": accounts.access_token(self._bot)}
        for role in ROLES:
            if role not in tokens:
                tokens[role] = accounts.access_token(accounts.add(role.capitalize(), role))
        return {
            "url": self.url,
            "socket_url": self.socket_url,
            "tenant": self.options.tenant,
            "email": self.options.email,
            "password": self.options.password,
            "tokens": tokens,
            "call_id": self._call_id,
            "department_id": self._department.department_id,
            "control": f"{self.url}/sandbox",
        }

    # ------------------------------------------------------------ sockets

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=400)
        token = request.query.get("token", "")
        protocols: tuple[str, ...] = ()
        if self._conformance is not None and self.options.dialect.token_protocol:
            try:
                token, protocols = _token_by_protocol(request, token)
            except LookupError:
                return web.Response(status=403)
            except ValueError:
                return web.Response(status=500)
        version = serializer_for(request.query.get("vsn"))
        if version is None:
            return web.Response(status=403)
        if self._conformance is not None and (user_id := self._conformance.admit(token)) is not None:
            return await self._serve(Socket(self._conformance.hub, user_id, version), request, protocols)
        identity = self.platform.accounts.verify(token)
        if identity is None:
            return web.Response(status=403)
        socket = Socket(self.platform.hub, identity, version)
        expiry = self._close_at_expiry(socket, identity)
        try:
            return await self._serve(socket, request, protocols)
        finally:
            expiry.cancel()
            self._expiries.discard(expiry)

    async def _serve(
        self, socket: Socket[Any], request: web.Request, protocols: tuple[str, ...]
    ) -> web.StreamResponse:
        # Real Phoenix asks the application first and sees only then that this is no websocket.
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400)
        return await socket.serve(request, protocols)

    def _close_at_expiry(self, socket: Socket[Identity], identity: Identity) -> asyncio.TimerHandle:
        left, code = max(0.0, identity.expires - self._wall()), self.options.dialect.disconnect_code
        expiry = asyncio.get_running_loop().call_later(left, socket.close, code)
        self._expiries.add(expiry)
        return expiry


def _token_by_protocol(request: web.Request, token: str) -> tuple[str, tuple[str, ...]]:
    """Return the token and the subprotocols to agree to, as Phoenix 1.8 does with ``auth_token``.

    Raises:
        LookupError: No subprotocol that is offered is known.
        ValueError: The token among them is not base64 of the standard alphabet.
    """
    offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    if not offered:
        return token, ()
    tokens = [p.removeprefix(_TOKEN_PROTOCOL) for p in offered if p.startswith(_TOKEN_PROTOCOL)]
    if _PROTOCOL not in offered:
        raise LookupError("no known subprotocol")
    if len(tokens) == 1 and not token:
        try:
            padded = tokens[0] + "=" * (-len(tokens[0]) % 4)
            token = base64.b64decode(padded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as failure:
            raise ValueError("no base64") from failure
    return token, (_PROTOCOL,)
