"""The tasks of a sandbox: none is lost, none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Tasks:
    """A set of running tasks that ends as one.

    Unlike `asyncio.TaskGroup`, one that fails is reported and leaves the others alone: a broken person
    must not end everybody's call.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` until it ends or `stop` is called."""
        task = asyncio.get_running_loop().create_task(work, name=f"sandbox:{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            _log.warning("a task of the sandbox failed", task=task.get_name(), error=repr(failure))

    async def stop(self) -> None:
        """Cancel everything and wait until it has ended."""
        current = asyncio.current_task()
        while remaining := [t for t in self._running if t is not current]:
            for task in remaining:
                task.cancel()
            await asyncio.wait(remaining, timeout=10)
