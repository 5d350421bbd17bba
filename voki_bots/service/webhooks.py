"""Voki's webhooks, as hints: what they tell is looked up, never believed (question Q35).

A hint shortens the wait for the next poll. It carries no authority: the signature has no timestamp, so an old
one may be sent again by whoever saw it, which costs one look at the list of calls.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog
from fastapi import FastAPI, Request, Response

from voki_bots.signalling.payloads import clean_id

PATH = "/webhooks/voki"

HEADER = "X-Voki-Signature"

MAX_BODY = 64 * 1024
"""Bytes of a body that are read; Voki's are a few hundred."""

REMEMBERED = 10_000
"""Bodies that are known again."""

_CALL_EVENTS = "call."
_log = structlog.get_logger(__name__)


def genuine(body: bytes, header: str, secret: bytes) -> bool:
    """Whether the header is the HMAC-SHA256 of the raw body, as ``sha256=<hex>`` or bare hex.

    Takes the same time wherever the first wrong digit is.
    """
    given = header.strip().lower().removeprefix("sha256=")
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def call_of(body: bytes) -> str | None:
    """The id of the call that a webhook is about, wherever it stands; None if it is about none."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, Mapping) or not str(told.get("event", _CALL_EVENTS)).startswith(_CALL_EVENTS):
        return None
    inner = told.get("data")
    inner = inner if isinstance(inner, Mapping) else {}
    call = inner.get("call")
    call = call if isinstance(call, Mapping) else {}
    places = (told.get("call_id"), inner.get("call_id"), call.get("id"), inner.get("id"))
    return next((found for place in places if (found := clean_id(place)) is not None), None)


class Webhooks:
    """Takes webhooks, each once.

    Args:
        secret: What Voki's settings show.
        hint: Told of every new one: the call's id, or None if it is not known.
        counted: Told what became of each: ``taken``, ``repeated``, ``refused``.
    """

    def __init__(
        self, secret: str, *, hint: Callable[[str | None], None], counted: Callable[[str], None]
    ) -> None:
        self._secret = secret.encode()
        self._hint = hint
        self._counted = counted
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def take(self, body: bytes, signature: str) -> int:
        """Take one; returns the HTTP status of the answer."""
        if not genuine(body, signature, self._secret):
            self._counted("refused")
            return 401
        digest = hashlib.sha256(body).digest()
        if digest in self._seen:
            self._counted("repeated")
            return 200
        self._seen[digest] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._counted("taken")
        self._hint(call_of(body))
        return 202

    def serve(self, app: FastAPI) -> None:
        """Add the route to the service's application."""

        @app.post(PATH, tags=["webhooks"], status_code=202)
        async def voki(request: Request) -> Response:
            """Take a webhook of Voki's: 202, 200 if it was taken before, 401 without a signature, 413."""
            body = await _bounded(request)
            if body is None:
                self._counted("refused")
                return Response(status_code=413)
            status = self.take(body, request.headers.get(HEADER, ""))
            if status == 401:
                _log.warning("webhook_refused", why="its signature is not made with our secret")
            return Response(status_code=status)


async def _bounded(request: Request) -> bytes | None:
    """The raw body; None if it is too large, which is found out before it is read."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return None
    return bytes(body)
