"""TURN and STUN servers: which of those that the platform names are used, in which order, and for how long.

The addresses come from the network and decide whom media are sent to. So only the schemes of RFC 7064 and
RFC 7065 are taken, and only hosts of the platform's own name or those that an operator has allowed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from voki_bots.errors import VokiError
from voki_bots.signalling.rest import TurnCredentials

LIFE = 600.0
"""Seconds that credentials are taken to live where nothing tells."""

PAUSE = 30.0
"""Seconds before a platform that gave none is asked again."""

MAX_URLS = 16
"""Addresses that are read at most."""

_PORT = 3478  # RFC 8656 section 6, RFC 8489 section 8.1
_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Relay:
    """The servers for one Peer: of a list, aiortc uses the first STUN and the first TURN url."""

    stun: str | None = None
    turn: str | None = None
    username: str = ""
    credential: str = field(default="", repr=False)


def usable(urls: Iterable[str], hosts: Sequence[str]) -> list[str]:
    """Choose the addresses that may be used, in the order to try them.

    Args:
        urls: As the platform gave them.
        hosts: Whose names, and names below them, are allowed.

    Returns:
        STUN first, then TURN over UDP, over TCP, over TLS; else in the platform's order.
    """
    found: list[tuple[int, str]] = []
    for url in list(urls)[:MAX_URLS]:
        match = _URL.fullmatch(url)
        if match is None or not 0 < int(match["port"] or _PORT) < 65536:
            _log.warning("ice_server_refused", why="it is no stun: or turn: address")
        elif not _allowed(match["host"].lower().strip("[]"), hosts):
            _log.warning("ice_server_refused", host=match["host"][:80], why="add it to voki.turn_hosts")
        else:
            scheme, transport = match["scheme"].lower(), (match["transport"] or "").lower()
            rank = (
                0 if scheme.startswith("stun") else 3 if scheme == "turns" else 2 if transport == "tcp" else 1
            )
            found.append((rank, url))
    return [url for _, url in sorted(found, key=lambda one: one[0])]


def _allowed(host: str, hosts: Sequence[str]) -> bool:
    return any(host == name.lower() or host.endswith(f".{name.lower()}") for name in hosts if name)


def relay(credentials: TurnCredentials, hosts: Sequence[str], attempt: int) -> Relay:
    """Choose the servers of the n-th attempt to connect: the TURN addresses take turns.

    Where no STUN server is named, the first TURN server that listens on UDP is one (RFC 8656 section 5 lets a
    TURN server answer Binding requests).
    """
    urls = usable(credentials.urls, hosts)
    stun = next((url for url in urls if url.lower().startswith("stun:")), None)
    turns = [url for url in urls if url.lower().startswith("turn")]
    if stun is None and turns and (match := _URL.fullmatch(turns[0])) is not None:
        plain = match["scheme"].lower() == "turn" and (match["transport"] or "udp").lower() == "udp"
        stun = f"stun:{match['host']}:{match['port'] or _PORT}" if plain else None
    turn = turns[attempt % len(turns)] if turns else None
    return Relay(stun, turn, credentials.username, credentials.credential)


def renewal(credentials: TurnCredentials, now: float) -> float:
    """When to fetch new credentials, in unix seconds: at half of what they have left to live.

    They end at the earlier of the two times that they may tell: their ``ttl``, and the one that their
    username begins with. One that has passed already is no expiry, but something else.
    """
    ends = [now + credentials.ttl] if credentials.ttl else []
    if credentials.expires is not None and credentials.expires > now:
        ends.append(credentials.expires)
    return now + (min(ends) - now if ends else LIFE) / 2


class TurnSource:
    """The TURN credentials of one account, fetched when they are needed and kept until half their life.

    Args:
        ask: Asks the platform with the account's token.
        ask_publicly: Asks it without; tried when the first is refused.
        hosts: Names whose servers may be used.
        wall: Unix seconds.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[TurnCredentials]],
        ask_publicly: Callable[[], Awaitable[TurnCredentials]],
        *,
        hosts: Sequence[str],
        wall: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._ask_publicly = ask_publicly
        self._hosts = tuple(hosts)
        self._wall = wall
        self._lock = asyncio.Lock()
        self._kept: TurnCredentials | None = None
        self._until = float("-inf")

    async def relay(self, attempt: int = 0) -> Relay:
        """The servers for a new Peer; none where the platform gives none, which is logged, not fatal."""
        async with self._lock:
            now = self._wall()
            if now >= self._until:
                self._kept = await self._fetch()
                self._until = renewal(self._kept, now) if self._kept else now + PAUSE
        return relay(self._kept, self._hosts, attempt) if self._kept else Relay()

    async def _fetch(self) -> TurnCredentials | None:
        try:
            return await self._ask()
        except VokiError as error:
            _log.warning("turn_credentials_refused", why=str(error), then="asking the public endpoint")
        try:
            return await self._ask_publicly()
        except VokiError as error:
            _log.warning("no_turn_credentials", why=str(error), then="media goes without TURN")
            return None
