"""How often the sign-in API of one platform may be asked: by everybody in this process together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MAX_REQUESTS, PERIOD = 5, 60.0
"""Requests to ``/api/auth/*`` that Voki allows in so many seconds."""


class AuthPace:
    """The limit of one platform; shared by the token brokers of all its accounts.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked: deque[float] = deque(maxlen=MAX_REQUESTS)

    async def wait(self, cost: int = 1) -> None:
        """Wait until so many requests more may be made, and count them; first come, first served."""
        async with self._lock:
            for _ in range(cost):
                if len(self._asked) == MAX_REQUESTS:
                    await asyncio.sleep(max(0.0, self._asked[0] + PERIOD - self._clock()))
                self._asked.append(self._clock())
