"""Webhooks that we send: at least once, in order for each receiver, kept on disk until they are taken.

What is due is in SQLite, so that neither a restart nor a kill loses it. Each receiver has a queue of its own;
what it refuses for good, or does not take within a day, is set aside as a dead letter, counted and logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from voki_bots.errors import FileWriteError
from voki_bots.service.feeds import Entry, Feed

DELAYS = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds before another try, by how many there were; after the last it stays so."""

GIVE_UP = 24 * 3600.0
"""Seconds after which what was never taken becomes a dead letter."""

MOST = 50_000
"""Deliveries of one receiver that may wait; then the oldest become dead letters."""

JITTER = (0.8, 1.2)

ID, TIMESTAMP, SIGNATURE = "X-Voki-Bots-Id", "X-Voki-Bots-Timestamp", "X-Voki-Bots-Signature"

_RETRIED = {408, 409, 425, 429}
"""What says "not now"; any other 4xx says "never", and would hold up everything behind it."""

_TABLES = """
CREATE TABLE IF NOT EXISTS due (
  number INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
  at REAL NOT NULL, dead INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS due_of ON due (receiver, dead, number);
"""

_log = structlog.get_logger(__name__)

T = TypeVar("T")

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who wants to be told.

    Attributes:
        url: Where; it is also the receiver's name.
        kinds: Names of the classes of events that are wanted.
        secret: Signs what is sent.
    """

    url: str
    kinds: frozenset[str]
    secret: bytes = field(repr=False)

    def signature(self, timestamp: str, body: bytes) -> str:
        """Sign a body and when it was sent: hex of the HMAC-SHA256 of ``<timestamp>.<body>``."""
        return hmac.new(self.secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class _Due:
    number: int
    id: str
    body: bytes
    at: float


class Outbox:
    """What is to be sent, and its sending. Made by `opened`.

    Args:
        receivers: Who is told.
        database: The open file; it is used in the thread alone.
        thread: Where the disk is waited for.
        post: Sends a body; see `Poster.post`.
        wall: Unix seconds.
        counted: Told what became of a delivery: ``sent``, ``retried`` or ``dead``.
        rng: Spreads retries.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        database: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        *,
        post: Post,
        wall: Callable[[], float],
        counted: Callable[[str], None],
        rng: random.Random,
    ) -> None:
        self._receivers = receivers
        self._database = database
        self._thread = thread
        self._post = post
        self._wall = wall
        self._counted = counted
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._wakes = {receiver.url: asyncio.Event() for receiver in receivers}
        self._failed = False

    def put(self, feed: Feed, entry: Entry) -> None:
        """Let an event of a call be sent to whoever wants it; returns at once."""
        if entry.passing:
            return
        wanted = [receiver.url for receiver in self._receivers if entry.kind in receiver.kinds]
        if not wanted:
            return
        body = entry.body.encode("utf-8", "replace")
        at = self._wall()
        # The same event has the same id, however often it is sent; no two events share one.
        id_ = hashlib.sha256(f"{feed.topic}\n{entry.number}\n{at}".encode() + body).hexdigest()[:32]
        self._thread.submit(self._store, wanted, id_, body, at)

    async def run(self) -> None:
        """Send what is due, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for receiver in self._receivers:
                group.create_task(self._serve(receiver), name="webhook")

    async def settled(self) -> None:
        """Wait until everything that was put is on disk."""
        await self._do(lambda: None)

    async def dead(self) -> list[tuple[str, str, str]]:
        """The dead letters: receiver, id and why."""
        query = "SELECT receiver, id, why FROM due WHERE dead = 1 ORDER BY number"
        return await self._do(lambda: [tuple(row) for row in self._database.execute(query)])

    # ------------------------------------------------------------ one receiver

    async def _serve(self, receiver: Receiver) -> None:
        wake, tries = self._wakes[receiver.url], 0
        while True:
            wake.clear()
            due = await self._do(lambda: self._next(receiver.url))
            if due is None:
                await wake.wait()
                continue
            status, why = await self._send(receiver, due)
            if 200 <= status < 300:
                tries = 0
                await self._do(lambda number=due.number: self._remove(number))  # type: ignore[misc]
                self._counted("sent")
                continue
            why = why or f"HTTP {status}"
            never = 300 <= status < 500 and status not in _RETRIED
            if never or self._wall() - due.at > GIVE_UP:
                tries = 0
                await self._bury(receiver, due, why)
                continue
            delay = DELAYS[min(tries, len(DELAYS) - 1)] * self._rng.uniform(*JITTER)
            tries += 1
            self._counted("retried")
            _log.warning("webhook_not_taken", receiver=_shown(receiver), why=why, again_after=round(delay, 1))
            await asyncio.sleep(delay)

    async def _send(self, receiver: Receiver, due: _Due) -> tuple[int, str]:
        timestamp = str(int(self._wall()))
        headers = {
            "Content-Type": "application/json",
            ID: due.id,
            TIMESTAMP: timestamp,
            SIGNATURE: f"sha256={receiver.signature(timestamp, due.body)}",
        }
        return await self._post(receiver.url, due.body, headers)

    async def _bury(self, receiver: Receiver, due: _Due, why: str) -> None:
        await self._do(lambda: self._mark(due.number, why))
        self._counted("dead")
        _log.error("webhook_dead", receiver=_shown(receiver), id=due.id, why=why)

    # ------------------------------------------------------------ in the thread

    async def _do(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _store(self, receivers: Sequence[str], id_: str, body: bytes, at: float) -> None:
        try:
            with self._database:
                rows = [(receiver, id_, body, at) for receiver in receivers]
                self._database.executemany(
                    "INSERT INTO due (receiver, id, body, at) VALUES (?, ?, ?, ?)", rows
                )
                for receiver in receivers:
                    self._thin(receiver)
        except sqlite3.Error as error:
            if not self._failed:
                self._failed = True
                _log.error("webhooks_not_kept", why=str(error))
            self._counted("dead")
            return
        for receiver in receivers:
            with suppress(RuntimeError):  # the loop is closed: it is sent after the next start
                self._loop.call_soon_threadsafe(self._wakes[receiver].set)

    def _thin(self, receiver: str) -> None:
        query = "SELECT number FROM due WHERE receiver = ? AND dead = 0 ORDER BY number DESC LIMIT 1 OFFSET ?"
        if (row := self._database.execute(query, (receiver, MOST)).fetchone()) is not None:
            older = "receiver = ? AND dead = 0 AND number <= ?"
            buried = f"UPDATE due SET dead = 1, why = 'too many wait' WHERE {older}"  # noqa: S608 - ours alone
            for _ in range(self._database.execute(buried, (receiver, row[0])).rowcount):
                self._counted("dead")

    def _next(self, receiver: str) -> _Due | None:
        query = "SELECT number, id, body, at FROM due WHERE receiver = ? AND dead = 0 ORDER BY number LIMIT 1"
        row = self._database.execute(query, (receiver,)).fetchone()
        return None if row is None else _Due(*row)

    def _remove(self, number: int) -> None:
        with self._database:
            self._database.execute("DELETE FROM due WHERE number = ?", (number,))

    def _mark(self, number: int, why: str) -> None:
        with self._database:
            self._database.execute("UPDATE due SET dead = 1, why = ? WHERE number = ?", (why, number))


@asynccontextmanager
async def opened(path: Path, receivers: Sequence[Receiver], **more: Any) -> AsyncIterator[Outbox]:
    """Open the outbox in a file, and send what is in it while the ``async with`` lasts.

    Args:
        path: The file, made 0600 if it is not there.
        receivers: Who is told; what waits for others stays.
        **more: See `Outbox`.

    Raises:
        FileWriteError: If it cannot be opened.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="outbox") as thread:
        loop = asyncio.get_running_loop()
        try:
            database = await loop.run_in_executor(thread, _database, path)
        except (OSError, sqlite3.Error) as error:
            raise FileWriteError(f"{path} cannot be opened: {error}", path=str(path)) from error
        outbox = Outbox(receivers, database, thread, **more)
        sending = asyncio.create_task(outbox.run(), name="webhooks")
        try:
            yield outbox
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await loop.run_in_executor(thread, database.close)


def _database(path: Path) -> sqlite3.Connection:
    if path.name != ":memory:":
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    database = sqlite3.connect(path)
    with closing(database.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.executescript(_TABLES)
    return database


def _shown(receiver: Receiver) -> str:
    """An address for logs: what follows the path may hold a secret."""
    return receiver.url.split("?")[0]
