"""Copies of finished calls, made one after another, until every store has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from voki_bots import Archive, Log, StorageConflictError, StorageTarget, VokiError

PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Seconds until a copy that failed is tried again, the last one for ever."""

LINGER = 60.0
"""Seconds that a copy may take at the stop; it goes on at the next start."""


class Uploads:
    """The calls that are being copied.

    Args:
        targets: Where to; all of them must have a call.
        forget: Whether the local copy goes once they have.
        pauses: Seconds between attempts.
    """

    def __init__(
        self, targets: Sequence[StorageTarget], *, forget: bool, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._targets = tuple(targets)
        self._forget = forget
        self._pauses = pauses
        self._one = asyncio.Semaphore(1)
        self._jobs: dict[Path, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    def soon(self, directory: Path, archive: Archive, log: Log) -> None:
        """Copy a call, again and again until it is everywhere; once is enough to ask."""
        if not self._targets or directory in self._jobs:
            return
        job = asyncio.create_task(self._copy(directory, archive, log), name=f"upload {directory.name}")
        self._jobs[directory] = job
        job.add_done_callback(lambda _: self._jobs.pop(directory, None))

    async def left(self, archive: Archive, log: Log) -> None:
        """Copy what an earlier run left."""
        if self._targets:
            for directory in await asyncio.to_thread(archive.to_upload, self._targets):
                self.soon(directory, archive, log)

    async def close(self, linger: float = LINGER) -> None:
        """Let the copy that is being made end; the others go on at the next start."""
        self._stopping.set()
        if self._jobs:
            _, late = await asyncio.wait(tuple(self._jobs.values()), timeout=linger)
            for job in late:
                job.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _copy(self, directory: Path, archive: Archive, log: Log) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._copy_once(directory, archive, log)
            except StorageConflictError as error:
                log.error("upload_refused", directory=str(directory), why=str(error))
                return
            except VokiError as error:
                pause = self._pauses[min(failures, len(self._pauses) - 1)]
                log.warning("upload_failed", directory=str(directory), why=str(error), again_after=pause)
                failures += 1
                await self._rest(pause)
            else:
                return

    async def _copy_once(self, directory: Path, archive: Archive, log: Log) -> None:
        async with self._one:
            if self._stopping.is_set():
                return
            sent = await asyncio.to_thread(archive.upload, directory, self._targets)
            log.info("call_uploaded", directory=str(directory), files=sent)
            if self._forget:
                await asyncio.to_thread(archive.forget, directory, self._targets)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
