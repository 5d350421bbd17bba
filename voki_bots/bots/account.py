"""One user of one tenant, signed in: what all of that user's calls share.

An `Account` owns the token broker, the REST client, the websockets and the TURN credentials. The sockets hold
any number of call channels, and are replaced at every fresh token; media never depend on them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import structlog

from voki_bots.bots.login import Login, secret_in
from voki_bots.calls import Call
from voki_bots.errors import VokiError
from voki_bots.media.peer import IceServer
from voki_bots.signalling.pace import AuthPace
from voki_bots.signalling.pool import SocketPool
from voki_bots.signalling.rest import Rest, TurnCredentials
from voki_bots.signalling.socket import Channel, Socket
from voki_bots.signalling.tokens import TokenBroker
from voki_bots.signalling.turn import TurnSource

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the platform is and who we are there.

    Attributes:
        url: The platform's origin, ``https://voki.example``.
        tenant: The tenant's slug.
        email: The account.
        password: Gives the password when it is needed; it is kept nowhere.
        totp_secret: Gives the TOTP secret, or None without MFA.
        socket_url: The websocket, or None for ``<url>/socket/websocket``.
        token_file: Keeps the refresh token over restarts, or None.
        loopback: The platform runs on this machine.
        relay_only: Media only through TURN.
        turn_hosts: Hosts beside the platform's own whose TURN servers may be used.
        receive_path: The best way of taking packets that may be used: ``tick``, ``hook`` or ``receiver``.
    """

    url: str
    tenant: str
    email: str
    password: Callable[[], str]
    totp_secret: Callable[[], str] | None = None
    socket_url: str | None = None
    token_file: Path | None = None
    loopback: bool = False
    relay_only: bool = False
    turn_hosts: tuple[str, ...] = ()
    receive_path: str = "tick"

    def of(self, login: Login, *, path: str) -> Credentials:
        """The same platform with another account.

        Args:
            login: The account.
            path: The setting that names it, for errors.
        """
        read = partial(secret_in, path=path)
        return replace(
            self,
            email=login.email,
            password=partial(read, login.password_file),
            totp_secret=partial(read, login.totp_file) if login.totp_file else None,
            token_file=login.token_file,
        )

    def websocket(self) -> str:
        """The address of the websocket, without its parameters."""
        if self.socket_url:
            return self.socket_url
        parts = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}[parts.scheme]
        return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/socket/websocket", "", ""))


class Account:
    """A signed-in user; use it as ``async with``.

    Args:
        credentials: Where and who.
        rng: Jitter of renewals and reconnects.
        wall: Unix time in seconds, for expiries that the platform states so.
        pace: The platform's limit of sign-in requests, where other accounts share it (`Accounts`).

    Raises:
        AuthenticationError: On entering, if the platform refuses the credentials.
        ConnectionLostError: On entering, if it cannot be reached.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
        pace: AuthPace | None = None,
    ) -> None:
        self.credentials = credentials
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._wall = wall
        self._pace = pace
        hosts = (urlsplit(credentials.url).hostname or "", *credentials.turn_hosts)
        self._turn = TurnSource(self._turn_credentials, self._public_turn, hosts=hosts, wall=wall)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        c = self.credentials
        async with AsyncExitStack() as stack:
            self.rest = await stack.enter_async_context(Rest(c.url, c.tenant))
            self.broker = TokenBroker(
                self.rest,
                c.email,
                c.password,
                clock=asyncio.get_running_loop().time,
                wall=self._wall,
                random=self._rng,
                totp_secret=c.totp_secret() if c.totp_secret else None,
                refresh_file=c.token_file,
                pace=self._pace,
            )
            await self.broker.token()
            self.sockets = SocketPool(lambda: Socket(c.websocket(), self.broker.token, random=self._rng))
            await stack.enter_async_context(self.sockets)
            renewing = asyncio.create_task(self._renew(), name=f"renew tokens of {c.tenant}")
            stack.push_async_callback(_cancelled, renewing)
            await self.sockets.connected()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _renew(self) -> None:
        try:
            async for _ in self.broker.renewals():
                await self.sockets.renew()
        except VokiError as error:
            # The token in use may be good for minutes yet; the socket tells when the platform refuses it.
            _log.error("token_not_renewed", tenant=self.tenant, why=str(error))

    @property
    def tenant(self) -> str:
        """The tenant's slug."""
        return self.credentials.tenant

    @property
    def user_id(self) -> str:
        """Our own user id."""
        return self.broker.identity.user_id

    def channel(self, topic: str, params: Mapping[str, object] | None = None) -> Channel:
        """A channel of a shared socket, not yet joined."""
        return self.sockets.channel(topic, params)

    async def command(self, path: str, body: Mapping[str, str]) -> None:
        """Post something to the platform that is configured, for it is not documented."""
        await self.rest.command(await self.broker.token(), path, body)

    async def failed(self) -> VokiError:
        """Resolve when a socket has given up for good."""
        return await self.sockets.failed()

    async def call(self, call_id: str) -> Call:
        """The platform's details of a call."""
        return await self.rest.call(await self.broker.token(), call_id)

    async def calls(self, status: str | None = None) -> list[Call]:
        """The platform's list of calls."""
        return await self.rest.calls(await self.broker.token(), status=status)

    async def ice_servers(self, attempt: int = 0) -> list[IceServer]:
        """STUN and TURN servers for a new Peer (question Q22).

        Args:
            attempt: Counts the Peers of a call that did not connect: each takes the next TURN address.

        Without any, media goes directly; that is logged, not fatal.
        """
        relay = await self._turn.relay(attempt)
        stun = [IceServer((relay.stun,))] if relay.stun else []
        turn = [IceServer((relay.turn,), relay.username, relay.credential)] if relay.turn else []
        return [*stun, *turn]

    async def _turn_credentials(self) -> TurnCredentials:
        return await self.rest.turn_credentials(await self.broker.token())

    async def _public_turn(self) -> TurnCredentials:
        return await self.rest.public_turn_credentials()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
