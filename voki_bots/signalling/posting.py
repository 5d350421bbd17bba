"""Sending what happened to somebody else's HTTP endpoint; thin."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

TIMEOUT = 10.0
"""Seconds that a receiver may take to answer."""


class Poster:
    """Posts bodies; use it as ``async with``. Redirects are not followed: the body is for this address alone.

    Args:
        transport: The network; for tests.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # Whatever the environment says of proxies is for others.
        self._http = httpx.AsyncClient(timeout=TIMEOUT, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Post a body.

        Returns:
            The HTTP status and an empty text, or 0 and what is wrong if there was no answer.
        """
        try:
            async with self._http.stream("POST", url, content=body, headers=dict(headers)) as answer:
                return answer.status_code, ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return 0, type(error).__name__
