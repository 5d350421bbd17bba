"""How datagrams come in: three paths, of which the best that fits is taken.

- tick: every 20 ms all sockets are read in one go, and audio goes straight to the `Intake`. For direct UDP
  on asyncio's own selector loop, on Linux.
- hook: each datagram goes straight to the `Intake` when asyncio has read it. For any candidate, TURN and TCP
  too.
- receiver: through aiortc's queue, parser and router. It always fits.

On all of them STUN, DTLS, RTCP and video go to aiortc untouched. A path that this machine or these versions
do not have is fallen back from, with one warning for each reason.
"""

from __future__ import annotations

import asyncio
import math
import select
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from weakref import WeakKeyDictionary

import structlog

from voki_bots.media import shortcuts
from voki_bots.media.quirks import MAX_DATAGRAM, Pulse
from voki_bots.media.receive import Intake

_log = structlog.get_logger(__name__)

PERIOD_SECONDS = 0.02
"""From one tick to the next; a packet waits for half of it on average."""

ROUNDS = 64
"""Datagrams that one socket may give in one tick; the rest waits in the kernel for the next."""


class ReceivePath(StrEnum):
    """How packets are taken, the cheapest first."""

    TICK = "tick"
    HOOK = "hook"
    RECEIVER = "receiver"


_warned: set[str] = set()


class Entrance:
    """Where the datagrams of one connection come in.

    It is aiortc's own until the transport is secure; then the path is chosen.

    Args:
        dtls: aiortc's transport.
        pulse: Is told that the far end was heard.
        intake: Takes the audio.
        wanted: The best path that may be used.
        on_fallback: Told ``receive_path`` where it does not fit.
    """

    def __init__(
        self,
        dtls: Any,
        pulse: Pulse,
        intake: Intake,
        wanted: ReceivePath,
        on_fallback: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = ReceivePath.RECEIVER
        self._dtls = dtls
        self._pulse = pulse
        self._intake = intake
        self._wanted = wanted
        self._on_fallback = on_fallback
        self._room = shortcuts.room()
        self._hooked = False
        if wanted is not ReceivePath.RECEIVER:
            dtls.on("statechange", self._changed)

    def _changed(self) -> None:
        if self._dtls.state != "connected":
            self._room.limit = 0
        elif not self._hooked:
            self._hooked = True
            self._choose()

    def _choose(self) -> None:
        if (why := shortcuts.misfit(self._dtls)) is not None:
            self._fall_back(ReceivePath.HOOK, why)
            return
        decrypt, state, self._session = shortcuts.decryption(self._dtls)
        self._take = self._intake.taker(self._room, decrypt, state, self._pulse)
        self._room.limit = MAX_DATAGRAM
        self._stock = shortcuts.hook(self._dtls, self._received)
        self.path = ReceivePath.HOOK
        if self._wanted is not ReceivePath.TICK:
            return
        if (why := tick_misfit(asyncio.get_running_loop())) is not None:
            self._fall_back(ReceivePath.TICK, why)
            return
        # A relayed or TCP candidate has no socket of its own to read: that is no fault.
        for direct in shortcuts.direct_sockets(self._dtls, self._room):
            Tick.of_loop().add(direct, self._take)
            self.path = ReceivePath.TICK

    def _fall_back(self, wanted: ReceivePath, why: str) -> None:
        if why not in _warned:
            _warned.add(why)
            _log.warning("receive_path_unavailable", path=str(wanted), why=why)
        self._on_fallback("receive_path")

    def _received(self, data: bytes, component: int) -> None:
        """Take what asyncio or a TURN client has read; this is aioice's `Connection.data_received`."""
        size = len(data)
        if size <= self._room.limit:
            self._room.buffer[0:size] = data
            if self._take(size, self._pulse.clock()):
                return
        self._stock(data, component)


def tick_misfit(loop: asyncio.AbstractEventLoop) -> str | None:
    """Say why sockets cannot be read by a tick on this loop; None if they can."""
    if not hasattr(select, "epoll"):
        return "this system has no epoll"
    return shortcuts.loop_misfit(loop)


class Tick:
    """Reads the sockets of all connections of one event loop together, every 20 ms.

    There is no task: a timer runs while there is a socket. Deadlines are absolute; a late turn makes no
    other one late.

    Args:
        loop: asyncio's own selector loop.
        wall: Seconds since 1970.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: Callable[[], float] = time.time) -> None:
        self._loop = loop
        self._wall = wall
        self._poll: Any = None
        self._readers: dict[int, Callable[[float, float], None]] = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of_loop(cls) -> Tick:
        """Give the one of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in _ticks:
            _ticks[loop] = cls(loop)
        return _ticks[loop]

    def add(self, direct: shortcuts.DirectSocket, take: Callable[[int, float], bool]) -> None:
        """Read a socket from now on, until it is closed.

        Args:
            direct: The socket, which asyncio no longer reads from then on.
            take: Takes what was read into its room, by size and arrival. What it does not take goes the
                usual way.
        """
        number = direct.number
        direct.release(self._loop, lambda: self._remove(number))
        self._readers[number] = direct.reader(take)
        if self._timer is None:
            self._poll = select.epoll()
            # On the grid on which packets go out too: both in one waking of the process.
            self._due = math.floor(self._loop.time() / PERIOD_SECONDS) * PERIOD_SECONDS
            self._arm()
        self._poll.register(number, select.EPOLLIN)

    def _remove(self, number: int) -> None:
        if self._readers.pop(number, None) is None:
            return
        self._poll.unregister(number)
        if not self._readers and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._poll.close()

    def _arm(self) -> None:
        behind = self._loop.time() - self._due
        self._due += PERIOD_SECONDS * max(1, math.ceil(behind / PERIOD_SECONDS))
        self._timer = self._loop.call_at(self._due, self._turn)

    def _turn(self) -> None:
        readers, poll = self._readers, self._poll
        now = self._loop.time()
        ahead = now - self._wall()
        self._arm()
        limit = max(1, len(readers))
        for _ in range(ROUNDS):
            ready = poll.poll(0, limit)
            for number, _ in ready:
                # Whatever a datagram sets off may close a connection that is ready too.
                if (read := readers.get(number)) is not None:
                    read(now, ahead)
            if not ready or not readers:
                return


_ticks: WeakKeyDictionary[asyncio.AbstractEventLoop, Tick] = WeakKeyDictionary()
