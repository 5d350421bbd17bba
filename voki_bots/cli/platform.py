"""Asking the platform without a bot: signed in, but without a websocket."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voki_bots.bots.account import Credentials
    from voki_bots.signalling.rest import Rest
    from voki_bots.signalling.tokens import TokenBroker


@asynccontextmanager
async def signed_in(credentials: Credentials) -> AsyncIterator[tuple[Rest, TokenBroker]]:
    """Give a REST client and the token broker of an account; the broker has a token already.

    Raises:
        AuthenticationError: If the platform refuses the account.
        ConnectionLostError: If it cannot be reached.
    """
    from voki_bots.signalling.rest import Rest
    from voki_bots.signalling.tokens import TokenBroker

    async with Rest(credentials.url, credentials.tenant) as rest:
        broker = TokenBroker(
            rest,
            credentials.email,
            credentials.password,
            clock=asyncio.get_running_loop().time,
            wall=time.time,
            random=random.Random(),  # noqa: S311 - jitter, not a secret
            totp_secret=credentials.totp_secret() if credentials.totp_secret else None,
            refresh_file=credentials.token_file,
        )
        await broker.token()
        yield rest, broker
