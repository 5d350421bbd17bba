"""How to reach the platform's socket, and what to try next when that fails. Pure.

The address may end in ``/socket`` or in ``/socket/websocket``; the transport's part is appended once (Q2). A
refusal (HTTP 403 with an empty body) can mean the token, the serializer version or the origin: a fresh token
is tried first, then the versions in turn (Q1). What worked once is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from voki_bots.errors import AuthenticationError, ConfigurationError, VokiError
from voki_bots.signalling import wire

STABLE = 5.0
"""Seconds that a connection must have lived for the first reconnect to come quickly."""

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_JITTER = (0.8, 1.2)
_QUICK = (0.05, 0.3)


class Dialling:
    """The next attempt to connect.

    Args:
        url: ``wss://host/socket`` or ``wss://host/socket/websocket``; http means ws, https means wss.
        versions: Serializer versions to ask for, in order; None asks for none, which servers take as 1.0.0.
        backoff: Seconds before the first, second, … try after a failure; the last is repeated.
        max_refusals: Refusals in a row after which to give up; before the first success at least one per
            version and one for the stale token.
        random: Spreads the delays of a fleet.

    Attributes:
        shown: The address without anything secret, for logs and errors.
        fresh: Whether the next attempt must not use a token that was used before.
        verdict: Why there will be no next attempt; None while there will.

    Raises:
        ConfigurationError: The address cannot be one of a socket.
    """

    def __init__(
        self,
        url: str,
        *,
        versions: Sequence[str | None],
        backoff: Sequence[float],
        max_refusals: int,
        random: Random,
    ) -> None:
        try:
            parts = urlsplit(url)
            scheme, host, port = _SCHEMES.get(parts.scheme.lower()), parts.hostname, parts.port
        except ValueError:
            scheme = host = port = None
        if scheme is None or not host:
            raise ConfigurationError("expected an address like wss://voki.example/socket", path="voki.url")
        at = f"[{host}]" if ":" in host else host
        at = f"{at}:{port}" if port else at
        root = parts.path.rstrip("/") or "/socket"
        while root.endswith("/websocket"):
            root = root.removesuffix("/websocket")
        self.shown = f"{scheme}://{at}{root}"
        self.fresh = False
        self.verdict: VokiError | None = None
        self._paths = [f"{scheme}://{at}{root}{tail}" for tail in ("/websocket", "/websocket/websocket")]
        self._query = [(k, v) for k, v in parse_qsl(parts.query) if k not in ("token", "vsn")]
        self._versions = tuple(versions)
        self._backoff = tuple(backoff)
        self._max_refusals = max_refusals
        self._random = random
        self._path = self._version = self._tries = self._refusals = 0
        self._proved = False

    def url(self, token: str) -> str:
        """The address to connect to. It holds the token: never show it."""
        query = [*self._query, ("token", token)]
        if (version := self._versions[self._version]) is not None:
            query.append(("vsn", version))
        scheme, at, path, _, _ = urlsplit(self._paths[self._path])
        return urlunsplit((scheme, at, path, urlencode(query), ""))

    @property
    def path(self) -> str:
        """The path of the next connection."""
        return urlsplit(self._paths[self._path]).path

    @property
    def version(self) -> str:
        """The serializer version that the next connection speaks."""
        asked = self._versions[self._version]
        return wire.V2 if asked is not None and asked.startswith("2.") else wire.V1

    def opened(self) -> None:
        """The connection is open: everything tried is right."""
        self._proved, self.fresh = True, False
        self._tries = self._refusals = 0

    def closed(self, lived: float) -> float:
        """A connection that lived for so many seconds is gone; say how long to wait."""
        if lived >= STABLE and self._backoff:
            return self._backoff[0] * self._random.uniform(*_QUICK)
        return self.failed()

    def failed(self) -> float:
        """The platform could not be reached, or is not well; say how long to wait."""
        delay = self._backoff[min(self._tries, len(self._backoff) - 1)]
        self._tries += 1
        return delay * self._random.uniform(*_JITTER)

    def rejected(self, status: int) -> float:
        """The upgrade was answered with this HTTP status instead; say how long to wait."""
        if status in (401, 403):
            return self._refused(status)
        if 300 <= status < 500 and status not in (408, 425, 429) and not self._proved:
            if self._path + 1 < len(self._paths):
                self._path += 1
                return 0.0
            self.verdict = ConfigurationError(
                f"{self.shown} is no Phoenix socket (HTTP {status}); the address usually ends in /socket",
                path="voki.url",
            )
            return 0.0
        return self.failed()

    def unauthorised(self, error: AuthenticationError | ConfigurationError) -> float:
        """No token can be had; say how long to wait."""
        if not self._proved:
            self.verdict = error
            return 0.0
        if isinstance(error, ConfigurationError):
            return self.failed()  # it was right before: a deploy may answer anything for a while
        self._refusals += 1
        if self._refusals >= self._max_refusals:
            self.verdict = error
        return self.failed()

    def _refused(self, status: int) -> float:
        self._refusals += 1
        limit = self._max_refusals if self._proved else max(self._max_refusals, len(self._versions) + 1)
        if self._refusals >= limit:
            self.verdict = AuthenticationError(
                f"{self.shown} refused the connection {self._refusals} times in a row (HTTP {status}): "
                "the token, the serializer version or the origin is not accepted",
                status=status,
            )
            return 0.0
        if self._proved:
            self.fresh = True
            return self.failed()
        if self._refusals == 1:
            self.fresh = True
            return 0.0
        self.fresh = False  # the last one was
        self._version = (self._version + 1) % len(self._versions)
        return 0.0 if self._refusals <= len(self._versions) else self.failed()
