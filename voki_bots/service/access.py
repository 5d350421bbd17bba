"""Who may ask a running service for what is in its calls, or command it: whoever shows the control token."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

import structlog
from fastapi import Header, HTTPException

_log = structlog.get_logger(__name__)

_NONE = "this service takes no commands; set VOKI_CONTROL_TOKEN or service.control_token_file"


class Access:
    """The check of the control token.

    Args:
        token: What must be shown; None lets nobody in.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def __call__(self, authorization: str = Header(default="")) -> None:
        """Let a request pass, as a dependency of its route; HTTP 401 or 403 if not."""
        if self._token is None:
            raise HTTPException(403, _NONE)
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not self.right(given.strip()):
            _log.warning("command_refused", why="it does not show the control token")
            raise HTTPException(401, "the control token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    def right(self, given: str) -> bool:
        """Whether this is the token; it takes the same time wherever the first wrong character is."""
        return self._token is not None and hmac.compare_digest(given.encode(errors="replace"), self._token)


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a page that opens a websocket was served from where it opens it.

    Browsers send the origin with every websocket, and let any page open one (RFC 6455 section 10.2). What is
    no browser sends none.
    """
    return origin is None or (bool(host) and urlsplit(origin).netloc == host)
