"""All accounts of a process: each user signed in once, each platform asked for tokens at one pace."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

from voki_bots.bots.account import Account, Credentials
from voki_bots.signalling.pace import AuthPace


class Accounts:
    """Signs users in, each once; an async context manager that signs nobody out before it ends.

    Two bots of the same user share an `Account`, and with it one token broker: a second one would ask for
    tokens of its own, of a sign-in API that allows five requests a minute.
    """

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str, str], Account] = {}
        self._paces: dict[str, AuthPace] = {}
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._accounts.clear()
        await self._stack.aclose()

    async def account(self, credentials: Credentials) -> Account:
        """The account of a user, signed in.

        Raises:
            AuthenticationError: If the platform refuses the credentials.
            ConnectionLostError: If it cannot be reached.
        """
        host = urlsplit(credentials.url).netloc.lower()
        key = (host, credentials.tenant, credentials.email)
        async with self._lock:
            if key not in self._accounts:
                if host not in self._paces:
                    self._paces[host] = AuthPace(asyncio.get_running_loop().time)
                account = Account(credentials, pace=self._paces[host])
                self._accounts[key] = await self._stack.enter_async_context(account)
            return self._accounts[key]
