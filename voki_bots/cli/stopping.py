"""Ctrl-C and SIGTERM as a call: the first ends cleanly, the second at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; needs a running loop.

    After it the usual behaviour is back, so a second Ctrl-C interrupts whatever still takes time.
    """
    loop = asyncio.get_running_loop()

    def release() -> None:
        for number in _NUMBERS:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)

    def first() -> None:
        release()
        stop()

    for number in _NUMBERS:
        # Elsewhere than in the main thread there are no signals to be had.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        release()
