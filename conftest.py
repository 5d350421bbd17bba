"""What every test of this repository shares: nothing may be left behind."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

GRACE = 3.0
"""Seconds that threads may take to end after a test."""

_POOLS = ("asyncio_", "AnyIO", "ThreadPoolExecutor", "pool")
"""Threads of pools that a process keeps."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let journeys be made on another receive path than the best."""
    parser.addoption("--receive-path", default="tick", choices=("tick", "hook", "receiver"))


def pytest_configure() -> None:
    """Say that there is no current event loop.

    Otherwise plugins that ask for one in a synchronous test get a new one each, and nobody closes it.
    """
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test that is a coroutine check its loop at the end."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # what was cancelled last may need a few turns of the loop to end
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, f"tasks left behind: {[task.get_name() + ' ' + repr(task.get_coro()) for task in left]}"


@pytest.fixture(autouse=True)
def no_thread_or_process_left() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process behind."""
    threads, children = set(threading.enumerate()), _children()
    yield
    deadline = time.monotonic() + GRACE
    while (left := _left(threads)) and time.monotonic() < deadline:
        left[0].join(0.05)
    assert not left, f"threads left behind: {[thread.name for thread in left]}"
    assert not (_children() - children), f"processes left behind: {_children() - children}"


def _left(before: set[threading.Thread]) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t not in before and not t.name.startswith(_POOLS)]


def _children() -> set[str]:
    """The pids of this process' children, the shared sandbox included."""
    path = Path("/proc/self/task/self/children")
    main = Path(f"/proc/self/task/{threading.main_thread().native_id}/children")
    for candidate in (main, path):
        try:
            return set(candidate.read_text().split())
        except OSError:
            continue
    return set()
