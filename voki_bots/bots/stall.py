"""Takes the event loop back from a plugin that blocks it.

Coroutines of plugins share the loop with every call of the process, and one ``time.sleep`` in one of them
would stop them all. While sessions run, a thread watches the loop; if it stands still inside a plugin's code
for longer than `BUDGET`, a signal interrupts the main thread there, and an error is raised in that plugin.
Packets wait in the sockets' buffers meanwhile: none is lost.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from types import FrameType

from voki_bots.errors import PluginError

BUDGET = 1.5
"""Seconds that a plugin may hold the event loop. A socket's receive buffer of Debian's default size takes two
seconds of a call of two."""

BEAT = 0.25
"""Seconds between two signs of life of the loop, and between two looks at them."""

NUMBER = signal.SIGUSR2
"""The signal that interrupts; it is only taken where nobody else uses it."""

_CORE = Path(__file__).resolve().parent.parent

running: ContextVar[str | None] = ContextVar("plugin", default=None)
"""Whose code runs in this context; tasks that a plugin makes inherit it."""


class StallGuard:
    """Watches one event loop, which must run in the main thread; elsewhere it does nothing.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._users = 0
        self._beat = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Watch, from the first user on."""
        self._users += 1
        if self._users > 1 or not self._possible():
            return
        signal.signal(NUMBER, self._interrupted)
        self._stop.clear()
        self._tick()
        self._thread = threading.Thread(target=self._watch, name="stall-guard", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Watch no more, after the last user."""
        self._users -= 1
        if self._users or self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        if self._timer is not None:
            self._timer.cancel()
        signal.signal(NUMBER, signal.SIG_DFL)

    @staticmethod
    def _possible() -> bool:
        """Signals go to the main thread; and a signal that somebody else handles stays theirs."""
        main = threading.current_thread() is threading.main_thread()
        return main and signal.getsignal(NUMBER) is signal.SIG_DFL

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(BEAT, self._tick)

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not self._stop.wait(BEAT):
            if time.monotonic() - self._beat > BUDGET:
                signal.pthread_kill(main, NUMBER)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, wherever it is: raise if that is a plugin's code, and not ours called by it."""
        plugin = running.get()
        late = time.monotonic() - self._beat
        if plugin is None or frame is None or late <= BUDGET or _is_core(frame):
            return
        where = f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
        raise PluginError(
            f"{plugin} held the event loop for {late:.1f} s at {where}; "
            "what blocks belongs into a sink or a thread",
            plugin=plugin,
        )


def _is_core(frame: FrameType) -> bool:
    """Whether a frame is the framework's own, or the event loop's: these must not be cut in their middle."""
    path = Path(frame.f_code.co_filename)
    return path.is_relative_to(_CORE) or path.parent.name == "asyncio"


_guards: dict[int, StallGuard] = {}


def guard_of(loop: asyncio.AbstractEventLoop) -> StallGuard:
    """The guard of a loop, one for all its sessions."""
    for key, guard in list(_guards.items()):
        if guard._loop.is_closed():
            del _guards[key]
    return _guards.setdefault(id(loop), StallGuard(loop))
