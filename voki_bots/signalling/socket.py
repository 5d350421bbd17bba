"""The one websocket to the platform: drives the channels of `channel.py`, reconnects, rejoins.

The only module that imports websockets. The token is part of the address, and websockets keeps the address in
its log lines and exceptions: nothing of either leaves this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from random import Random
from types import TracebackType
from typing import Self

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from voki_bots.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    SignallingError,
    VokiError,
)
from voki_bots.signalling.channel import Connection
from voki_bots.signalling.dialling import Dialling
from voki_bots.signalling.membership import (
    ChannelEvent,
    Closed,
    Errored,
    Joined,
    Received,
    Reply,
)
from voki_bots.signalling.payloads import documented
from voki_bots.signalling.switchboard import Switchboard
from voki_bots.signalling.topic import Channel

__all__ = ["Channel", "ChannelEvent", "Closed", "Errored", "Joined", "Received", "Reply", "Socket"]

_CLOSE_TIMEOUT = 1.0  # seconds to wait for the far end's half of a close
_MAX_SIZE = 8 * 2**20  # the largest message that Phoenix' own servers take
_TURN = 64  # messages read before others get their turn of the loop
_MAX_NOTICES = 100
_log = structlog.get_logger(__name__)


class _Connect(connect):
    """A websocket handshake that follows no redirect, which would carry the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Socket:
    """The websocket of one user: an async context manager that connects, and stays connected.

    Args:
        url: ``wss://host/socket``, with or without ``/websocket``.
        token: Gives the access token; asked at every attempt to connect, with True if the last was refused.
        heartbeat: Seconds between heartbeats.
        timeout: Seconds to wait for replies, joins and for a connection to open.
        backoff: Seconds between attempts to reconnect, and to rejoin a channel.
        random: Spreads these delays.
        versions: Serializer versions to try, in order; None asks for none.
        max_refusals: Refusals in a row after which the socket gives up.
        permitted: Whether an event may be pushed to a topic; by default what Voki documents, for an event
            that a Phoenix channel does not know crashes it.
        max_events: Events that may wait for a channel's consumer; one more closes the channel.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[bool], Awaitable[str]],
        *,
        heartbeat: float = 20.0,
        timeout: float = 10.0,
        backoff: Sequence[float] = (1, 2, 5, 10),
        random: Random,
        versions: Sequence[str | None] = ("2.0.0", "1.0.0", None),
        max_refusals: int = 3,
        permitted: Callable[[str, str], bool] = documented,
        max_events: int = 4096,
    ) -> None:
        self._dialling = Dialling(
            url, versions=versions, backoff=backoff, max_refusals=max_refusals, random=random
        )
        self._token = token
        self._timeout = timeout
        self._connection = Connection(
            heartbeat=heartbeat,
            timeout=timeout,
            rejoin=backoff,
            spread=lambda delay: delay * random.uniform(0.8, 1.2),
        )
        self._openings: set[asyncio.Future[None]] = set()
        self._verdict: asyncio.Future[VokiError] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._stirred = asyncio.Event()  # deadlines may have changed
        self._outbox = asyncio.Event()  # there may be something to write
        self._hang_up = asyncio.Event()  # this connection is to end
        self._spare: str | None = None  # a token fetched ahead by replace()
        self._exited = False
        self.board = Switchboard(
            self._connection,
            clock=self._now,
            permitted=permitted,
            max_events=max_events,
            check=self.check,
            stirred=self._stirred.set,
            written=self._outbox.set,
            hang_up=self._hang_up.set,
        )
        # websockets writes the address, and so the token, into its log lines of level DEBUG
        self._foreign_log = logging.Logger("voki_bots.signalling.websockets", level=logging.WARNING)
        self._foreign_log.addHandler(logging.NullHandler())

    async def __aenter__(self) -> Self:
        self._verdict = asyncio.get_running_loop().create_future()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._tasks = [self._group.create_task(self._run()), self._group.create_task(self._watch_deadlines())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exited = True
        self._connection.close("the socket was closed", self._now())
        self.board.deliver()
        self._fail_openings(ConnectionLostError("the socket was closed"))
        for task in self._tasks:
            task.cancel()
        assert self._group is not None
        await self._group.__aexit__(None, None, None)  # the body's own error goes its way, not in a group

    @property
    def open(self) -> bool:
        """Whether there is a connection now."""
        return self._connection.open

    @property
    def spoken(self) -> tuple[str, str]:
        """The path of the connection, and the version of the serializer that it speaks."""
        return self._dialling.path, self._dialling.version

    @property
    def channels(self) -> list[Channel]:
        """The channels that were made and have not closed."""
        return self.board.channels

    async def connected(self) -> None:
        """Wait until the connection is open.

        Raises:
            AuthenticationError: The platform refuses us; the socket has given up.
            ConfigurationError: There is no Phoenix socket at this address; the socket has given up.
            ConnectionLostError: The platform cannot be reached; the socket goes on trying.
        """
        self.check()
        if self._connection.open:
            return
        opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._openings.add(opening)
        try:
            await opening
        finally:
            self._openings.discard(opening)

    def channel(
        self, topic: str, params: Mapping[str, object] | Callable[[], Mapping[str, object]] | None = None
    ) -> Channel:
        """Make a channel; nothing is sent before `Channel.join`. `params` may be computed at every join."""
        if not callable(params):
            fixed = dict(params or {})
            params = lambda: fixed  # noqa: E731 - a closure over a copy, so that later changes do not matter
        return self.board.channel(topic, params)

    async def failed(self) -> VokiError:
        """Wait until the socket gives up for good, and say why: AuthenticationError or ConfigurationError."""
        assert self._verdict is not None, "the socket was not entered"
        return await asyncio.shield(self._verdict)

    async def replace(self) -> None:
        """Fetch a fresh token, then break the connection and connect anew at once.

        Raises:
            SignallingError: What the token's source raises; the connection is then left alone.
        """
        self.check()
        self._spare = await self._token(True)
        self._hang_up.set()

    async def ping(self) -> float:
        """Measure the seconds of one round trip.

        Raises:
            ConnectionLostError: Not connected.
            ReplyTimeoutError: No reply.
        """
        self.check()
        began = self._now()
        await self.board.ping()
        return self._now() - began

    # ------------------------------------------------------------ inside

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def check(self) -> None:
        """Raise the verdict, or that the socket was closed."""
        if self._verdict is not None and self._verdict.done():
            raise self._verdict.result()
        if self._exited:
            raise ConnectionLostError("the socket was closed")

    async def _watch_deadlines(self) -> None:
        while True:
            self._stirred.clear()
            due = self._connection.next_wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due == inf else max(0.0, due - self._now())):
                    await self._stirred.wait()
            self._connection.wake(self._now())
            self.board.deliver()

    async def _run(self) -> None:
        """Connect, converse, wait, and again, until the verdict."""
        while True:
            delay, why = await self._attend()
            if (verdict := self._dialling.verdict) is not None:
                break
            if delay > 0:
                self._fail_openings(why)
                _log.info("socket.retrying", url=self._dialling.shown, delay=round(delay, 2), why=str(why))
            self._connection.lost(str(why), self._now())
            self.board.pump()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hang_up.wait()  # replace() ends the wait
        _log.error("socket.gave_up", url=self._dialling.shown, why=str(verdict))
        assert self._verdict is not None
        self._verdict.set_result(verdict)
        self._connection.close(str(verdict), self._now())
        self._fail_openings(verdict)
        self.board.pump()

    async def _attend(self) -> tuple[float, VokiError]:
        """Make one attempt and see it to its end; say how long to wait, and what went wrong."""
        dialling = self._dialling
        token, self._spare = self._spare, None
        try:
            token = token or await self._token(dialling.fresh)
        except (AuthenticationError, ConfigurationError) as error:
            return dialling.unauthorised(error), error
        except SignallingError as error:
            return dialling.failed(), error
        websocket, status, why = await self._open(dialling.url(token))
        if websocket is None:
            return (dialling.failed() if status is None else dialling.rejected(status)), ConnectionLostError(
                why
            )
        dialling.opened()
        began = self._now()
        self._hang_up.clear()
        self._connection.opened(dialling.version, began)
        _log.info("socket.opened", url=dialling.shown, version=dialling.version)
        for opening in self._openings:
            if not opening.done():
                opening.set_result(None)
        self.board.pump()
        await self._converse(websocket)
        self._hang_up.clear()
        code, reason = websocket.close_code, websocket.close_reason or ""
        _log.info("socket.closed", url=dialling.shown, code=code, reason=reason[:100])
        lost = ConnectionLostError(
            f"the connection to {dialling.shown} ended ({code})", code=code, reason=reason
        )
        return (0.0 if self._spare else dialling.closed(self._now() - began)), lost

    async def _open(self, url: str) -> tuple[ClientConnection | None, int | None, str]:
        """Connect: a websocket, or the HTTP status of the refusal, or neither, with the reason."""
        shown = self._dialling.shown
        try:
            websocket = await _Connect(
                url,
                compression=None,
                proxy=None,  # by default websockets reads the environment
                open_timeout=self._timeout,
                ping_interval=None,  # the heartbeat is Phoenix' own
                close_timeout=_CLOSE_TIMEOUT,
                max_size=_MAX_SIZE,
                logger=self._foreign_log,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            return None, status, f"{shown} answered with HTTP {status}"
        except TimeoutError:
            return None, None, f"{shown} did not answer within {self._timeout:g} s"
        except OSError as error:
            return None, None, f"{shown} cannot be reached: {error.strerror or type(error).__name__}"
        except (InvalidHandshake, InvalidURI, EOFError) as error:
            return None, None, f"{shown} does not speak websocket ({type(error).__name__})"
        return websocket, None, ""

    async def _converse(self, websocket: ClientConnection) -> None:
        """Read and write until either end hangs up; leaves the connection closed."""
        reader = asyncio.create_task(self._read(websocket))
        others = [asyncio.create_task(self._write(websocket)), asyncio.create_task(self._hang_up.wait())]
        try:
            await asyncio.wait([reader, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            code = websocket.close_code
            ended = "the connection ended" if code is None else f"the connection ended ({code})"
            self._connection.lost(ended, self._now())
            self.board.pump()
            # The reader goes on meanwhile: websockets cannot finish a close that nobody reads.
            try:
                async with asyncio.timeout(2 * _CLOSE_TIMEOUT):
                    await websocket.close(1000)
            except TimeoutError:
                _log.debug("socket.close_timed_out", url=self._dialling.shown)
            finally:
                websocket.transport.abort()
                for task in (reader, *others):
                    task.cancel()
                ends = await asyncio.gather(reader, *others, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _read(self, websocket: ClientConnection) -> None:
        with contextlib.suppress(WebSocketException):
            count = 0
            async for data in websocket:
                self._connection.receive(data, self._now())
                self.board.pump()
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)  # a flood must not starve the consumers

    async def _write(self, websocket: ClientConnection) -> None:
        with contextlib.suppress(WebSocketException):
            while True:
                self._outbox.clear()
                for message in self._connection.outgoing():
                    await websocket.send(message)
                await self._outbox.wait()

    def _fail_openings(self, error: VokiError) -> None:
        for opening in self._openings:
            if not opening.done():
                opening.set_exception(error)
