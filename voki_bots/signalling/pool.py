"""The websockets of one user: as many as its channels need, replaced before their token ends.

Phoenix allows 100 channels on a socket, and ends the socket when its token does. So channels are spread over
sockets of at most 50 (question Q9), and whenever there is a fresh token each socket is replaced: queue and
notification topics join the new one before they leave the old one (Q4), so that no event is lost or told
twice; all others, first of all calls, leave the old one before they join the new one (Q5), so that nobody is
in a call twice. A socket that cannot be replaced stays, and reconnects when the platform drops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog

from voki_bots.errors import VokiError
from voki_bots.signalling.socket import Channel, Socket

CAPACITY = 50
"""Channels on one socket at most: half of what Phoenix allows, for a move may need two for one."""

CONNECT = 15.0
"""Seconds that the new socket may take to open before the old one is kept."""

OVERLAPPING = ("queue:", "notification:")
"""Topics that may be joined twice for a moment; whoever joins another twice may be seen twice."""

_log = structlog.get_logger(__name__)


class _Line:
    """One socket, held open by a task of its own."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.ending = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class SocketPool:
    """All sockets of one user; an async context manager.

    Args:
        make: Makes a socket, which asks for the token itself.
        capacity: Channels on one socket at most.
    """

    def __init__(self, make: Callable[[], Socket], *, capacity: int = CAPACITY) -> None:
        self._make = make
        self._capacity = capacity
        self._lines: list[_Line] = []
        self._held: set[_Line] = set()  # those in use, those that come, those that go
        self._renewing = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._verdict: asyncio.Future[VokiError] | None = None

    async def __aenter__(self) -> Self:
        self._verdict = asyncio.get_running_loop().create_future()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._lines.append(self._start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._held:
            line.ending.set()
        assert self._group is not None
        await self._group.__aexit__(None, None, None)

    @property
    def open(self) -> bool:
        """Whether every socket is connected now."""
        return all(line.socket.open for line in self._lines)

    @property
    def sockets(self) -> list[Socket]:
        """The sockets in use."""
        return [line.socket for line in self._lines]

    async def connected(self) -> None:
        """Wait until the first socket is connected; raises what `Socket.connected` does."""
        await self._lines[0].socket.connected()

    async def failed(self) -> VokiError:
        """Wait until a socket gives up for good, and say why."""
        assert self._verdict is not None, "the pool was not entered"
        return await asyncio.shield(self._verdict)

    def channel(
        self, topic: str, params: Mapping[str, object] | Callable[[], Mapping[str, object]] | None = None
    ) -> Channel:
        """Make a channel on the first socket that has room; nothing is sent before `Channel.join`."""
        for line in self._lines:
            if len(line.socket.channels) < self._capacity:
                return line.socket.channel(topic, params)
        self._lines.append(self._start())
        return self._lines[-1].socket.channel(topic, params)

    async def renew(self) -> None:
        """Replace every socket by one with the token of now, and end those that carry nothing."""
        async with self._renewing:
            for line in self._lines[1:]:
                if not line.socket.channels:
                    self._lines.remove(line)
                    line.ending.set()
            for line in list(self._lines):
                await self._replace(line)

    # ------------------------------------------------------------ inside

    def _start(self) -> _Line:
        assert self._group is not None, "the pool was not entered"
        line = _Line(self._make())
        self._held.add(line)
        line.task = self._group.create_task(self._hold(line), name="socket")
        return line

    async def _hold(self, line: _Line) -> None:
        async with line.socket:
            ending = asyncio.create_task(line.ending.wait())
            failed = asyncio.create_task(line.socket.failed())
            try:
                await asyncio.wait({ending, failed}, return_when=asyncio.FIRST_COMPLETED)
                if failed.done() and line in self._lines:
                    assert self._verdict is not None
                    if not self._verdict.done():
                        self._verdict.set_result(failed.result())
                await ending
            finally:
                for task in (ending, failed):
                    task.cancel()
                await asyncio.gather(ending, failed, return_exceptions=True)
        self._held.discard(line)

    async def _replace(self, line: _Line) -> None:
        fresh, old = self._start(), line.socket
        try:
            async with asyncio.timeout(CONNECT):
                await fresh.socket.connected()
        except (VokiError, TimeoutError) as error:
            _log.warning("socket.not_replaced", why=str(error) or "no connection in time")
            fresh.ending.set()
            return
        self._lines[self._lines.index(line)] = fresh
        moving = [channel for channel in old.channels if channel.topic.startswith(OVERLAPPING)]
        await asyncio.gather(
            *(old.board.overtake(channel, fresh.socket.board) for channel in moving if channel.joined)
        )
        rest = old.channels
        old.board.hand_over(rest, fresh.socket.board, "the socket is replaced for a fresh token")
        line.ending.set()
        assert line.task is not None
        await asyncio.wait({line.task})
        fresh.socket.board.rejoin()
        _log.info("socket.replaced", overlapping=len(moving), broken=len(rest))
