"""What stands before every route: bounded bodies, known hosts, and what browsers are told about answers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 64 * 1024
"""Bytes of a body; what people ask is a few hundred."""

SLOWEST = 10.0
"""Seconds that a body may take."""

LONGEST_PATH = 2048
"""Characters of a path: two ids of the longest, escaped."""

ANYBODY = frozenset({"/livez", "/readyz", "/webhooks/voki"})
"""What is asked by balancers and by the platform, by whatever name; the last is signed."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
"""What a browser is told about every answer that does not say otherwise."""


class Guard:
    """Wraps an application.

    Args:
        app: It.
        hosts: Names by which it may be asked; empty for any. A page of elsewhere whose name is made to point
            at us (DNS rebinding) is refused by that.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        telling = send if scope["type"] == "websocket" else _telling(send)
        if (problem := self._problem(scope)) is not None:
            await _refuse(scope, telling, *problem)
            return
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            body = await _body(scope, receive)
            if isinstance(body, int):
                await _refuse(scope, telling, body, "the body is too large, or came too slowly")
                return
            receive = _again(body, receive)
        await self._app(scope, receive, telling)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        if len(scope.get("raw_path") or scope["path"]) > LONGEST_PATH:
            return 414, "the path is too long"
        if self._hosts and scope["path"] not in ANYBODY and _host(scope) not in self._hosts:
            return 421, "this service has another name; write it in service.hosts"
        return None


def _host(scope: Scope) -> str:
    found = (
        next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    )
    if found.startswith("["):
        return found[1:].partition("]")[0]
    return found.partition(":")[0]


def _telling(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {
                **message,
                "headers": [*message["headers"], *(each for each in more if each[0] not in there)],
            }
        await send(message)

    return told


async def _body(scope: Scope, receive: Receive) -> bytes | int:
    """Read a body; the status of the refusal if it is too large, which is found out before it is read."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not length.isdigit() or int(length) > LARGEST:
        return 413
    body = bytearray()
    try:
        async with asyncio.timeout(SLOWEST):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LARGEST:
                    return 413
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return 408


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already."""
    given = False

    async def take() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return take


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f'{{"detail":"{why}"}}'.encode()
    head: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ],
    }
    await send(head)
    await send({"type": "http.response.body", "body": body})
