"""Who may ask a running service for what is in its calls, or command it, and of which tenants.

There are three ways in: a person's own token, the control token of the service, and the headers of a reverse
proxy that has signed the person in. Whoever comes has a rank, and sees the calls of some tenants or of all.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import HTTPException, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection

from voki_bots.calls import problem_with_id
from voki_bots.errors import FileWriteError

_log = structlog.get_logger(__name__)

CONTROL = "api"
"""Who shows the control token."""

TOKEN_SECONDS = 5.0
"""Seconds that a websocket may take to show the token."""

LONGEST = 4096
"""Characters of the message that shows it."""

FAILURES = 10.0
"""Wrong tokens that one address may show in quick succession."""

FORGIVEN = 1 / 6.0
"""How many of them are forgotten a second."""

REMEMBERED = 10_000
"""Addresses and people whose requests are counted."""

SPARED = 3600.0
"""Seconds for which somebody who came in from an address is not kept out by wrong tokens from there."""

ANYWAY = frozenset({"paused", "consented", "refused"})
"""What is done though it cannot be noted: a full disk must not let a card number be recorded."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""

_NONE = "this service lets nobody in; write [[service.access]], or set VOKI_CONTROL_TOKEN"


class Rank(StrEnum):
    """What somebody may do: each may what those before may."""

    VIEWER = "viewer"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"


_ORDER = tuple(Rank)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in.

    Attributes:
        name: As the audit and journals name them.
        rank: What they may do.
        tenants: Whose calls they see; empty for all.
    """

    name: str
    rank: Rank = Rank.ADMIN
    tenants: frozenset[str] = frozenset()

    def sees(self, tenant: str) -> bool:
        """Whether a tenant's calls are for them."""
        return not self.tenants or tenant in self.tenants

    def may(self, rank: Rank) -> bool:
        """Whether they may what this rank may."""
        return _ORDER.index(self.rank) >= _ORDER.index(rank)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and whom it lets in."""

    principal: Principal
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A reverse proxy that signs people in, and says in headers who they are.

    Attributes:
        trusted: Where it is; nobody else's headers are believed.
        user: The header of the name.
        roles: The header of roles or groups, with commas.
        ranks: Which of them gives which rank; the highest counts, and without one nobody is let in.
        tenants: The header of tenants, with commas; empty for none, and then all are seen.
    """

    trusted: tuple[IPv4Network | IPv6Network, ...]
    user: str
    roles: str
    ranks: Mapping[str, Rank]
    tenants: str = ""

    def trusts(self, address: str) -> bool:
        """Whether a connection comes from it."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.trusted)

    def principal(self, headers: Mapping[str, str]) -> Principal | None:
        """Who the headers say it is; None if they name nobody who may come in."""
        name = headers.get(self.user, "").strip()
        if problem_with_id(name) is not None:
            return None
        ranks = [self.ranks[each] for each in _listed(headers.get(self.roles, "")) if each in self.ranks]
        if not ranks:
            return None
        tenants = frozenset(_listed(headers.get(self.tenants, ""))) if self.tenants else frozenset()
        if self.tenants and not tenants:
            return None
        return Principal(name, max(ranks, key=_ORDER.index), tenants)


class Buckets:
    """Counts requests of many, each in a bucket that leaks; those who came last are remembered.

    Args:
        burst: What a bucket holds.
        rate: What it loses a second.
        clock: Seconds.
    """

    def __init__(self, burst: float, rate: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until there is room for one more; 0.0 if there is."""
        return max(0.0, (self._level(key) + 1.0 - self._burst) / self._rate)

    def add(self, key: str) -> None:
        """Count one."""
        self._levels[key] = (self._level(key) + 1.0, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) * self._rate)


class Access:
    """Who is let in, and what for. Its methods `viewer`, `supervisor` and `admin` are dependencies of routes.

    Args:
        token: The control token; None if there is none.
        grants: Tokens of people.
        proxy: A proxy that signs people in.
        audit: Takes what people do: who, act, tenant, call, facts. It raises `FileWriteError` if it cannot
            be written, and then nothing is done.
        rate: Requests that one person may make a second, in the long run.
        burst: And at once.
        clock: Seconds.
    """

    def __init__(
        self,
        token: str | None,
        grants: Sequence[Grant] = (),
        proxy: Proxy | None = None,
        *,
        audit: Callable[..., None] = lambda *_, **__: None,
        rate: float = 20.0,
        burst: float = 100.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        shared = () if token is None else (Grant(Principal(CONTROL), token),)
        self._grants = tuple((grant.token.encode(), grant.principal) for grant in (*shared, *grants))
        self._proxy = proxy
        self._audit = audit
        self._clock = clock
        self._came: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._failures = Buckets(FAILURES, FORGIVEN, clock)
        self._requests = Buckets(burst, rate, clock)

    @property
    def closed(self) -> bool:
        """Whether nobody at all is let in."""
        return not self._grants and self._proxy is None

    # ------------------------------------------------------------ dependencies of routes

    def viewer(self, request: HTTPConnection) -> Principal:
        """Let in who may see; HTTP 401, 403, 404 or 429 if not."""
        return self._let_in(request, Rank.VIEWER)

    def supervisor(self, request: HTTPConnection) -> Principal:
        """Let in who may act in calls; HTTP 401, 403, 404 or 429 if not."""
        return self._let_in(request, Rank.SUPERVISOR)

    def admin(self, request: HTTPConnection) -> Principal:
        """Let in who may everything; HTTP 401, 403, 404 or 429 if not."""
        return self._let_in(request, Rank.ADMIN)

    def audit(self, who: Principal, act: str, tenant: str, call: str, **facts: Any) -> None:
        """Note what somebody does; it is not done if that cannot be noted, but for `ANYWAY`.

        Raises:
            FileWriteError: If the audit cannot be written.
        """
        _log.info("audited", by=who.name, act=act, tenant=tenant, call=call, **facts)
        try:
            self._audit(who.name, act, tenant, call, **facts)
        except FileWriteError as error:
            if act not in ANYWAY:
                raise
            _log.error("not_audited", by=who.name, act=act, why=str(error))

    def _let_in(self, request: HTTPConnection, rank: Rank) -> Principal:
        headers = request.headers
        given = _bearer(headers.get("authorization", ""))
        if str(request.scope.get("method", "GET")) not in SAFE and not same_origin(
            headers.get("origin"), headers.get("host")
        ):
            raise HTTPException(403, "a page of another origin may not ask for this")
        who = self._known(request, given)
        if who is None:
            raise HTTPException(
                401,
                "the control token is missing or wrong; show it, or your own, as Authorization: Bearer",
                {"WWW-Authenticate": "Bearer"},
            )
        self._check(who, rank, request.path_params)
        return who

    def _check(self, who: Principal, rank: Rank, path: Mapping[str, Any]) -> None:
        if wait := self._requests.wait(who.name):
            raise HTTPException(429, "too many requests; wait a little", {"Retry-After": f"{wait + 1:.0f}"})
        self._requests.add(who.name)
        for name in ("tenant", "call"):
            if name in path and problem_with_id(path[name]) is not None:
                raise HTTPException(404, "there is no such call")
        if "tenant" in path and not who.sees(path["tenant"]):
            # It is not said whether there is such a call.
            raise HTTPException(404, "no bot attends this call now")
        if not who.may(rank):
            self.audit(who, "refused", path.get("tenant", ""), path.get("call", ""), needs=str(rank))
            raise HTTPException(403, f"this takes a {rank}, and you are a {who.rank}")

    def _known(self, request: HTTPConnection, given: str) -> Principal | None:
        """Who it is, by the token that is given or by the proxy's word.

        Raises:
            HTTPException: If nobody is let in here, or this address has shown too many wrong tokens.
        """
        if self.closed:
            raise HTTPException(403, _NONE)
        address = request.client.host if request.client is not None else ""
        proxied = self._proxy is not None and self._proxy.trusts(address)
        if proxied:
            forwarded = _listed(request.headers.get("x-forwarded-for", ""))
            address = forwarded[-1] if forwarded else address
        if given:
            who, wait = self._of(given), self._failures.wait(address)
            if wait and (who is None or not self._spared(address, who)):
                raise HTTPException(
                    429, "too many wrong tokens came from there", {"Retry-After": f"{wait + 1:.0f}"}
                )
            if who is not None:
                self._came[address, who.name] = self._clock()
                self._came.move_to_end((address, who.name))
                if len(self._came) > REMEMBERED:
                    self._came.popitem(last=False)
                return who
            self._failures.add(address)
            _log.warning("access_refused", why="a wrong token", address=address)
            return None
        return self._proxy.principal(request.headers) if proxied and self._proxy is not None else None

    def _spared(self, address: str, who: Principal) -> bool:
        """Whether somebody came in from there lately: a stale script beside them keeps nobody out."""
        came = self._came.get((address, who.name))
        return came is not None and self._clock() - came < SPARED

    def _of(self, given: str) -> Principal | None:
        """Whose token this is; it takes the same time wherever the first wrong character is."""
        found = None
        for token, principal in self._grants:
            if hmac.compare_digest(given.encode(errors="replace"), token):
                found = principal
        return found

    # ------------------------------------------------------------ websockets

    async def of_socket(self, socket: WebSocket, tenant: str | None, rank: Rank) -> Principal | None:
        """Accept a websocket of somebody who may have it; None, and it is closed, if they may not.

        The token comes in the header, or as the first message, ``{"token": …}``: pages cannot set headers.

        Args:
            socket: It, which was not accepted yet.
            tenant: Whose call it is about; None if that comes later.
            rank: What it takes.
        """
        if not same_origin(socket.headers.get("origin"), socket.headers.get("host")):
            _log.warning("websocket_refused", why="it was opened by a page of another origin")
            await socket.close(1008)  # before it is accepted: HTTP 403
            return None
        await socket.accept()
        try:
            given = _bearer(socket.headers.get("authorization", ""))
            who = self._known(socket, given) if given else None
            if not given and (who := self._proxied(socket)) is None:
                who = self._known(socket, await _shown(socket))
            if who is not None:
                self._check(who, rank, socket.path_params if tenant is None else {"tenant": tenant})
                return who
            why = "the control token is missing or wrong"
        except WebSocketDisconnect:
            return None
        except (HTTPException, FileWriteError) as error:
            why = str(error.detail) if isinstance(error, HTTPException) else str(error)
        _log.warning("websocket_refused", why=why)
        await socket.close(1008, why[:120])
        return None

    def _proxied(self, socket: WebSocket) -> Principal | None:
        address = socket.client.host if socket.client is not None else ""
        if self._proxy is None or not self._proxy.trusts(address):
            return None
        return self._proxy.principal(socket.headers)


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a page that asks was served from where it asks.

    Browsers send the origin with every websocket, and let any page open one (RFC 6455 section 10.2). What is
    no browser sends none.
    """
    return origin is None or (bool(host) and urlsplit(origin).netloc == host)


async def _shown(socket: WebSocket) -> str:
    """The token of the first message; empty if none comes in time."""
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            text = await socket.receive_text()
        said = json.loads(text) if len(text) <= LONGEST else None
    except (TimeoutError, ValueError, KeyError, RecursionError):
        return ""
    return str(said.get("token", "")).strip() if isinstance(said, Mapping) else ""


def _bearer(header: str) -> str:
    scheme, _, given = header.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
