"""As whom the parties of a test call are there: two users who sign in, and a customer who never does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from typing import Self
from urllib.parse import urlsplit

import jwt

from voki_bots.bots.account import Account, Credentials
from voki_bots.probe.overheard import Log, Overheard
from voki_bots.signalling.pace import AuthPace
from voki_bots.signalling.payloads import clean_id
from voki_bots.signalling.pool import SocketPool
from voki_bots.signalling.rest import Admission, Identity, Rest
from voki_bots.signalling.socket import Channel, Socket
from voki_bots.signalling.tokens import TokenBroker


class OverheardAccount(Account):
    """A signed-in user of whose call channels everything is kept.

    Args:
        credentials: Where and who.
        log: Where it is kept.
        pace: The platform's limit of sign-in requests.
    """

    def __init__(self, credentials: Credentials, log: Log, *, pace: AuthPace | None = None) -> None:
        super().__init__(credentials, pace=pace)
        self.log = log

    def channel(self, topic: str, params: Mapping[str, object] | None = None) -> Channel:
        """A channel of a shared socket, not yet joined."""
        return Overheard(super().channel(topic, params), self.log)


class Guest(OverheardAccount):
    """The customer of a call, with the one token that an access link gave him.

    Args:
        credentials: Where the platform is; nobody signs in.
        admission: What the link gave.
        log: Where all that is said on his channels is kept.
    """

    def __init__(self, credentials: Credentials, admission: Admission, log: Log) -> None:
        super().__init__(replace(credentials, socket_url=_socket_url(credentials, admission)), log)
        self._token = admission.token

    async def __aenter__(self) -> Self:
        c = self.credentials
        async with AsyncExitStack() as stack:
            self.rest = await stack.enter_async_context(Rest(c.url, c.tenant))
            self.broker = _OneToken(self.rest, self._token)
            self.sockets = SocketPool(lambda: Socket(c.websocket(), self.broker.token, random=self._rng))
            await stack.enter_async_context(self.sockets)
            await self.sockets.connected()
            self._stack = stack.pop_all()
        return self


class _OneToken(TokenBroker):
    """A token that cannot be renewed."""

    def __init__(self, rest: Rest, token: str) -> None:
        clock = asyncio.get_running_loop().time
        super().__init__(rest, "the customer", lambda: "", clock=clock, wall=time.time, random=Random(0))  # noqa: S311
        self._only = token

    @property
    def identity(self) -> Identity:
        """The subject of the token; nobody, if it does not say."""
        try:
            claims = jwt.decode(self._only, options={"verify_signature": False})
        except jwt.PyJWTError:
            claims = {}
        return Identity(clean_id(claims.get("sub")) or "")

    async def token(self, fresh: bool = False) -> str:
        """Give the token, refused or not: there is no other, and the serializer may be what was refused."""
        return self._only

    async def renewals(self) -> AsyncGenerator[str, None]:
        """There are none."""
        nothing: tuple[str, ...] = ()
        for token in nothing:
            yield token


def _socket_url(credentials: Credentials, admission: Admission) -> str | None:
    """Where the customer's token goes: as the platform says, if that is the platform itself."""
    if admission.socket_url is None:
        return credentials.socket_url
    ours, theirs = urlsplit(credentials.websocket()), urlsplit(admission.socket_url)
    same = (ours.hostname, ours.port) == (theirs.hostname, theirs.port)
    safe = theirs.scheme in ("wss", "https") or ours.scheme == theirs.scheme
    return admission.socket_url if same and safe else credentials.socket_url
