"""The hand-off to a plugin's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voki_bots.calls import Track
from voki_bots.errors import PluginError
from voki_bots.media.tap import Lane, Tap

TRACK = Track(0, "0", 1)


@dataclass
class Item:
    """Something of a track."""

    number: int
    track: Track = TRACK


class Shelf:
    """A sink that keeps what it gets."""

    def __init__(self, on_write: Callable[[Any], object] = lambda item: None) -> None:
        self.items: list[int] = []
        self.flushes = 0
        self.closed = False
        self.thread = ""
        self._on_write = on_write

    def write(self, item: Any) -> None:
        self._on_write(item)
        self.thread = threading.current_thread().name
        self.items.append(item.number)

    def flush(self) -> None:
        self.flushes += 1

    def close(self) -> None:
        self.closed = True


def explode(item: Any) -> None:
    raise ZeroDivisionError("bad plugin")


async def finish(*taps: Tap) -> None:
    for tap in taps:
        tap.close()
        await tap.drain()
    for tap in taps:
        await tap.lane.join()


async def test_items_arrive_in_order_in_the_lanes_thread() -> None:
    """The sink runs in a thread named after its plugin."""
    shelf = Shelf()
    tap = Tap(Lane("recorder"), shelf)
    for n in range(100):
        tap.put(Item(n))
    await tap.drain()
    assert (shelf.items, shelf.thread, shelf.flushes) == (list(range(100)), "lane-recorder", 1)
    await finish(tap)


async def test_closing_writes_the_rest_then_flushes_and_closes_the_sink() -> None:
    """Nothing that was handed over is lost by a close."""
    shelf, lane = Shelf(), Lane("x")
    tap = Tap(lane, shelf)
    tap.put(Item(1))
    await finish(tap)
    assert (shelf.items, shelf.flushes, shelf.closed) == ([1], 1, True)


async def test_the_thread_ends_with_its_last_tap() -> None:
    """A lane without taps has no thread, and gets one again with the next tap."""
    lane = Lane("short")
    for _ in range(2):
        await finish(Tap(lane, Shelf()))
        assert not [t for t in threading.enumerate() if t.name == "lane-short"]


async def test_a_full_tap_drops_its_oldest_and_counts_them() -> None:
    """What is lost is known for each track."""
    gate = threading.Event()
    shelf = Shelf(lambda item: gate.wait(5))
    tap = Tap(Lane("slow"), shelf, limit=10)
    tap.put(Item(0))
    await asyncio.sleep(0.1)
    for n in range(1, 31):
        tap.put(Item(n))
    gate.set()
    await tap.drain()
    assert (shelf.items, tap.take_dropped()) == ([0, *range(21, 31)], {TRACK: 20})
    await finish(tap)


async def test_a_sink_that_raises_is_detached_and_told_on_the_loop() -> None:
    """The failure arrives once, on the event loop's thread, and the sink is closed."""
    told: list[tuple[BaseException, str]] = []
    shelf = Shelf(explode)
    tap = Tap(Lane("bad"), shelf, on_failure=lambda e: told.append((e, threading.current_thread().name)))
    tap.put(Item(1))
    tap.put(Item(2))
    await tap.drain()
    await tap.lane.join()
    assert [(type(e), name) for e, name in told] == [(ZeroDivisionError, "MainThread")]
    assert (tap.detached, shelf.closed) == (True, True)


async def test_a_sink_that_raises_does_not_disturb_another_on_its_lane() -> None:
    """Two calls of one plugin share a thread, not a fate."""
    lane, shelf = Lane("shared"), Shelf()
    bad, good = Tap(lane, Shelf(explode)), Tap(lane, shelf)
    for n in range(5):
        bad.put(Item(n))
        good.put(Item(n))
    await good.drain()
    assert shelf.items == [0, 1, 2, 3, 4]
    await finish(good)


async def test_a_stuck_sink_loses_its_tap_and_the_others_get_a_new_thread() -> None:
    """A sink that does not come back is left behind with its thread."""
    gate = threading.Event()
    told: list[BaseException] = []
    lane, shelf = Lane("stuck", budget=0.2), Shelf()
    stuck = Tap(lane, Shelf(lambda item: gate.wait(30)), on_failure=told.append)
    good = Tap(lane, shelf)
    stuck.put(Item(1))
    await stuck.drain()
    good.put(Item(2))
    await good.drain()
    assert [type(e) for e in told] == [PluginError]
    assert shelf.items == [2]
    gate.set()
    await finish(good)


async def test_flush_comes_about_once_a_second_without_anything_arriving(until: Any) -> None:
    """What was written becomes durable although nothing follows."""
    shelf = Shelf()
    tap = Tap(Lane("idle"), shelf)
    tap.put(Item(1))
    await until(lambda: shelf.flushes == 1, 3)
    await finish(tap)


async def test_a_function_is_a_sink_and_a_name_is_a_lane() -> None:
    """Two taps of one plugin name share a thread."""
    seen: list[tuple[int, str]] = []
    taps = [
        Tap("plug", lambda item: seen.append((item.number, threading.current_thread().name))) for _ in "ab"
    ]
    for n, tap in enumerate(taps):
        tap.put(Item(n))
        await tap.drain()
    assert (seen, taps[0].lane is taps[1].lane) == ([(0, "lane-plug"), (1, "lane-plug")], True)
    await finish(*taps)
