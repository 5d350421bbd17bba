"""One thread per plugin name, shared by all calls of the process, and functions as sinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from voki_bots.media.frames import Sink
from voki_bots.media.tap import Lane


class Lanes:
    """The lanes of one process: the sinks of one plugin, of all calls, share a thread."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def of(self, plugin: str) -> Lane:
        """The lane of a plugin, made at its first use; it has a thread only while it has something to do."""
        if plugin not in self._lanes:
            self._lanes[plugin] = Lane(plugin)
        return self._lanes[plugin]

    async def join(self) -> None:
        """Wait until the threads have ended, which they do once their last subscription is closed."""
        for lane in self._lanes.values():
            await lane.join()


class Calling:
    """A sink made of a function; there is nothing to flush or close."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function

    def write(self, item: Any) -> None:
        """Call the function."""
        self._function(item)

    def flush(self) -> None:
        """See `voki_bots.media.frames.Sink`."""

    def close(self) -> None:
        """See `voki_bots.media.frames.Sink`."""


def as_sink(sink: Sink[Any] | Callable[[Any], object]) -> Sink[Any]:
    """Take a sink, or a function of one item.

    Raises:
        TypeError: If it is neither.
    """
    if callable(getattr(sink, "write", None)):
        return sink  # type: ignore[return-value]  # just checked
    if callable(sink):
        return Calling(sink)
    raise TypeError(f"expected a Sink or a function of one item, got {type(sink).__name__}")
