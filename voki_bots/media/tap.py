"""The only queue: the bounded, counted hand-off from the event loop to a plugin's own thread.

A `Lane` is one thread for one plugin, shared by all its calls; a `Tap` is one subscription on it. The loop
never waits for either. A sink that raises, or does not come back, loses its tap and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import structlog

from voki_bots.calls import Track
from voki_bots.errors import PluginError
from voki_bots.media.frames import Packet, Sink
from voki_bots.units import to_seconds

_log = structlog.get_logger(__name__)

PACE_SECONDS = 0.015
"""The thread is woken at most this often: items come in handfuls, and a wake-up costs more than an item.

It is a little less than the receive tick, so that it keeps step with it. A sink may ask for longer."""

MAX_PACE_SECONDS = 0.2
FLUSH_SECONDS = 0.8
IDLE_SECONDS = 0.15
TURN_SECONDS = 0.25
HANDFUL = 32
BUDGET_SECONDS = 5.0
_TOUCHING = 0.001
LIMIT = 6000


class Stage(Protocol):
    """Turns what is put into a tap into what its sink takes; it runs in the lane's thread."""

    def feed(self, item: Any) -> Iterable[Any]:
        """Take one item, give any number."""

    def idle(self, now: float) -> Iterable[Any]:
        """Give what has waited long enough; `now` is of the lane's clock."""

    def finish(self) -> Iterable[Any]:
        """Give what is left."""


class _Mark:
    """A place in the queue at which the sink is flushed, or closed, and somebody is told."""

    __slots__ = ("closes", "future")

    def __init__(self, future: asyncio.Future[None] | None, *, closes: bool = False) -> None:
        self.future = future
        self.closes = closes


class Lane:
    """One plugin's thread. It lives while there are taps on it, and starts again when one is made.

    The thread is a daemon, so that a sink that never comes back cannot keep the process from ending;
    nothing is lost by that, for `Tap.drain` and `join` wait for everything that does come back.

    Args:
        name: The plugin's name; the thread is named after it.
        clock: Seconds; monotonic, and callable from any thread.
        budget: Seconds that one call of a sink may take.
    """

    def __init__(
        self, name: str, *, clock: Callable[[], float] = time.monotonic, budget: float = BUDGET_SECONDS
    ) -> None:
        self.name = name
        self.clock = clock
        self.budget = budget
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._taps: list[Tap] = []
        self._thread: threading.Thread | None = None
        self._generation = 0
        self._busy: tuple[Tap, float] | None = None
        self.awake = False

    @classmethod
    def of(cls, name: str) -> Lane:
        """Give the lane of a plugin on the running event loop, the same for all its calls."""
        return _lanes.setdefault(asyncio.get_running_loop(), {}).setdefault(name, cls(name))

    def wake(self) -> None:
        """Say that there is something to do; cheap if that is known already."""
        self.awake = True
        if not self._wake.is_set():
            self._wake.set()

    def watch(self) -> None:
        """Detach the sink that has been busy for longer than the budget; the others get a new thread.

        Called from the event loop. The stuck thread is left behind and ends when its sink comes back.
        """
        busy = self._busy
        if busy is None or self.clock() - busy[1] <= self.budget:
            return
        tap = busy[0]
        with self._lock:
            if self._busy is not busy:
                return
            self._generation += 1
            self._busy = None
            self._thread = None
            if tap in self._taps:
                self._taps.remove(tap)
            self._start()
        why = f"a sink of {self.name} did not come back within {self.budget:g} s"
        tap._detach(PluginError(why, plugin=self.name))

    async def join(self, timeout: float = BUDGET_SECONDS) -> bool:
        """Wait until the thread has ended for want of taps; say whether it has."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (thread := self._thread) is not None and thread.is_alive():
            if loop.time() > deadline:
                return False
            self.watch()
            self.wake()
            await asyncio.sleep(0.005)
        return True

    def _add(self, tap: Tap) -> None:
        with self._lock:
            self._taps.append(tap)
            self._start()

    def _remove(self, tap: Tap) -> None:
        with self._lock:
            if tap in self._taps:
                self._taps.remove(tap)

    def _start(self) -> None:
        if self._thread is None and self._taps:
            arguments = (self._generation,)
            name = f"lane-{self.name}"
            self._thread = threading.Thread(target=self._run, args=arguments, name=name, daemon=True)
            self._thread.start()

    def _run(self, generation: int) -> None:
        while True:
            # A stage holds back unfinished batches, which time alone must bring out.
            staged = any(tap.stage is not None for tap in self._taps)
            self._wake.wait(IDLE_SECONDS if staged else FLUSH_SECONDS)
            began = self.clock()
            # In this order: what is put in between is either seen in this turn or wakes the next one.
            self._wake.clear()
            self.awake = False
            with self._lock:
                if generation != self._generation:
                    return
                if not self._taps:
                    self._thread = None
                    return
                taps = list(self._taps)
            for tap in taps:
                tap._work()
                if generation != self._generation:
                    return
                self._busy = None
            pace = min((tap.pace for tap in taps), default=PACE_SECONDS)
            time.sleep(max(0.001, began + pace - self.clock()))


_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Lane]] = WeakKeyDictionary()


class _Function:
    """A function as a sink."""

    def __init__(self, write: Callable[[Any], object]) -> None:
        self.write = write

    def flush(self) -> None:
        """A function keeps nothing back."""

    def close(self) -> None:
        """A function holds nothing open."""


class Tap:
    """One subscription: a bounded queue from the event loop to a sink on a lane.

    Make it on the event loop. If the queue is full the oldest item goes, and is counted for its track.

    Args:
        lane: Where the sink runs; a plugin's name means its lane on this event loop.
        sink: Takes the items; it is flushed about once a second and closed once. A function will do.
        limit: Items that may wait.
        on_failure: Called once, on the event loop, with what the sink raised.
        stage: What the items go through first.
    """

    def __init__(
        self,
        lane: Lane | str,
        sink: Sink[Any] | Callable[[Any], object],
        *,
        limit: int = LIMIT,
        on_failure: Callable[[BaseException], None] | None = None,
        stage: Stage | None = None,
    ) -> None:
        self.lane = lane = Lane.of(lane) if isinstance(lane, str) else lane
        self.stage = stage
        self.dropped = 0
        self.failure: BaseException | None = None
        self._sink: Any = sink if hasattr(sink, "write") else _Function(sink)
        self.pace = max(PACE_SECONDS, min(MAX_PACE_SECONDS, getattr(sink, "pace", PACE_SECONDS)))
        self._limit = limit
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._items: deque[Any] = deque()
        self._drops: Counter[Track] = Counter()
        self._holes: dict[Track, list[tuple[float, float]]] = {}
        self._grew: dict[Track, tuple[float, float]] = {}
        self._ended = False
        self._gone = False
        self._dirty = False
        self._flushed = lane.clock()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        lane._add(self)

    @property
    def detached(self) -> bool:
        """Whether the sink failed, or was closed: it takes nothing any more."""
        return self._gone

    def put(self, item: Any) -> None:
        """Hand over an item with a ``track``; on the event loop, without waiting."""
        if self._ended:
            return
        if len(self._items) >= self._limit:
            self._drop()
        self._items.append(item)
        lane = self.lane
        if not lane.awake:
            # Not at once: packets come in handfuls, and the thread would take the first one alone.
            lane.awake = True
            self._loop.call_soon(lane.wake)

    def take_dropped(self) -> Counter[Track]:
        """Give what was dropped of each track since the last time."""
        found = self._drops
        if found:
            self._drops = Counter()
        return found

    def take_holes(self, *, over: bool = False) -> list[tuple[Track, float, float]]:
        """Give the spans of call time that drops left in tracks; one that grows only when all is `over`."""
        found = []
        for track, holes in list(self._holes.items()):
            whole = over or holes[-1] == self._grew.get(track)
            found += [(track, *hole) for hole in (holes if whole else holes[:-1])]
            self._grew[track] = holes[-1]
            if whole:
                del self._holes[track], self._grew[track]
            else:
                self._holes[track] = holes[-1:]
        return found

    async def drain(self) -> None:
        """Wait until what came so far is written and flushed (after `close`: closed), or the sink is gone."""
        if self._ended:
            waiting: asyncio.Future[None] = self._closed
        else:
            waiting = self._loop.create_future()
            self._items.append(_Mark(waiting))
        self.lane.wake()
        while not waiting.done() and not self._closed.done():
            await asyncio.wait({waiting, self._closed}, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
            self.lane.watch()

    def close(self) -> None:
        """Take no more; what was handed over is still written, then the sink is flushed and closed."""
        if not self._ended:
            self._ended = True
            self._items.append(_Mark(None, closes=True))
            self.lane.wake()

    def _drop(self) -> None:
        try:
            item = self._items.popleft()
        except IndexError:
            return
        if isinstance(item, _Mark):
            self._tell(item)
        elif (track := getattr(item, "track", None)) is not None:
            self.dropped += 1
            self._drops[track] += 1
            if isinstance(item, Packet) and track.kind == "audio":
                self._note(track, item.start, item.start + to_seconds(item.duration))

    def _note(self, track: Track, start: float, end: float) -> None:
        """Remember a hole; one that goes on from the last becomes part of it."""
        holes = self._holes.setdefault(track, [])
        if holes and abs(holes[-1][1] - start) < _TOUCHING:
            start = holes.pop()[0]
        holes.append((start, end))

    # ------------------------------------------------------------ in the lane's thread

    def _work(self) -> None:
        clock = self.lane.clock
        began = clock()
        self.lane._busy = (self, began)
        try:
            while self._items and not self._gone and clock() - began < TURN_SECONDS:
                self._empty()
            if self._gone:
                return
            if self._items:
                self.lane.wake()
            if self.stage is not None:
                self._write(self.stage.idle(clock()))
            if self._dirty and clock() - self._flushed >= FLUSH_SECONDS:
                self._flush()
        except Exception as error:  # noqa: BLE001  # a plugin's sink: whatever it raises ends this tap alone
            self._fail(error)

    def _empty(self) -> None:
        """Take a handful of items: the clock is not asked for each."""
        items, stage, write = self._items, self.stage, self._sink.write
        for _ in range(min(len(items), HANDFUL)):
            if self._gone:
                return
            try:
                item = items.popleft()
            except IndexError:  # the loop has dropped it in this moment
                return
            if type(item) is _Mark:
                self._reach(item)
            elif stage is None:
                self._dirty = True
                write(item)
            elif made := stage.feed(item):
                self._write(made)
        self._busy()

    def _write(self, made: Iterable[Any]) -> None:
        for item in made:
            self._busy()
            self._dirty = True
            self._sink.write(item)
            if self._gone:
                return

    def _flush(self) -> None:
        self._busy()
        self._sink.flush()
        self._dirty, self._flushed = False, self.lane.clock()

    def _busy(self) -> None:
        self.lane._busy = (self, self.lane.clock())

    def _reach(self, mark: _Mark) -> None:
        try:
            if mark.closes and self.stage is not None:
                self._write(self.stage.finish())
            if not self._gone:
                self._flush()
            if mark.closes and not self._gone:
                self._sink.close()
                self._gone = True
                self.lane._remove(self)
                self._call(self._resolve)
        finally:
            self._tell(mark)

    def _fail(self, error: BaseException) -> None:
        if self._gone:
            return
        self.lane._remove(self)
        self._detach(error)
        try:
            self._sink.close()
        except Exception as second:  # noqa: BLE001  # a plugin's sink that failed already
            _log.debug("sink_close_failed", plugin=self.lane.name, error=type(second).__name__)

    def _detach(self, error: BaseException) -> None:
        """Take the sink out, from whichever thread; `on_failure` and the waiting run on the loop."""
        if self._gone:
            return
        self._gone = self._ended = True
        self.failure = error

        def tell() -> None:
            self._resolve()
            if self._on_failure is not None:
                self._on_failure(error)

        self._call(tell)

    def _resolve(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
        self._items.clear()

    def _tell(self, mark: _Mark) -> None:
        future = mark.future
        if future is not None:
            self._call(lambda: None if future.done() else future.set_result(None))

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return
