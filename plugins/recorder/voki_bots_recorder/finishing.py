"""What happens to calls after they are over: finished in other processes, and one day purged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voki_bots import Archive, Attendance, FinishOptions, FinishPool, Log, VokiError
from voki_bots_recorder.uploading import Uploads

PATIENCE = 120.0
"""Seconds that a session may take to seal its folder."""

LINGER = 120.0
"""Seconds that finishing may take at the stop; what is left then is finished at the next start."""

RESUME = 30.0
"""Seconds after a start in which calls that still run are taken up; only then the others are finished."""

ROUND = 6 * 3600.0
"""Seconds between two looks for calls whose time is over."""

RETRY = 600.0
"""Seconds until what could not be finished (a full disk, say) is tried again."""


class Finishing:
    """The calls that are being finished.

    Args:
        size: How many at once.
        uploads: Takes what is finished.
        archive: Where calls are kept; `recover` is told in any case.
    """

    def __init__(self, size: int, uploads: Uploads | None = None, archive: Path | None = None) -> None:
        self._archive = archive
        self._pool = FinishPool(size)
        self._uploads = uploads or Uploads((), forget=False)
        self._jobs: dict[asyncio.Task[None], Path] = {}
        self._left = True

    def soon(self, call: Attendance, options: FinishOptions) -> None:
        """Finish a call as soon as its session has sealed it."""
        job = asyncio.create_task(self._finish(call, options), name=f"finish {call.call}")
        self._jobs[job] = call.directory
        job.add_done_callback(self._jobs.pop)

    async def close(self, linger: float = LINGER) -> None:
        """Wait for what is being finished and copied, then give up what is not."""
        if self._jobs:
            _, late = await asyncio.wait(tuple(self._jobs), timeout=linger)
            for job in late:
                job.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._uploads.close()

    async def _finish(self, call: Attendance, options: FinishOptions) -> None:
        directory, log = call.directory, call.log
        progress = _gauge(call)
        try:
            made = await self._pool.finish(directory, options, patience=PATIENCE, progress=progress)
        except VokiError as error:
            call.metrics.count("finish_failures")
            log.error("finish_failed", directory=str(directory), why=str(error))
            self._left = True
            return
        call.metrics.count("finished")
        if _tell(log, directory, made):
            call.metrics.count("unsound")
        self._uploads.soon(directory, Archive(self._archive or directory.parent), log)

    async def recover(self, archive: Path, log: Log, *, after: float = RESUME, retry: float = RETRY) -> None:
        """Finish what a crash or a full disk left, and purge, again and again, until it is cancelled.

        Args:
            archive: Where calls are kept.
            log: Is told what was done.
            after: Seconds until the first look.
            retry: Seconds until what failed is tried again.
        """
        self._archive, kept = archive, Archive(archive)
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(after)
        purge_at = clock()
        while True:
            if self._left:
                await self._finish_left(kept, log)
            if clock() >= purge_at:
                await self._uploads.left(kept, log)
                await asyncio.to_thread(purge, kept, log)
                purge_at = clock() + ROUND
            await asyncio.sleep(retry)

    async def _finish_left(self, kept: Archive, log: Log) -> None:
        """Finish whatever is not, but for what is being finished; remember if any of it fails."""
        self._left = False
        busy = {each.absolute() for each in self._jobs.values()}
        for directory in await asyncio.to_thread(kept.unfinished):
            if directory.absolute() in busy:
                continue
            try:
                _tell(log, directory, await self._pool.finish(directory))
            except VokiError as error:
                log.warning("finish_failed", directory=str(directory), why=str(error))
                self._left = True
            else:
                self._uploads.soon(directory, kept, log)


def purge(kept: Archive, log: Log) -> None:
    """Erase calls whose time is over; one that cannot be erased does not keep the others."""
    try:
        kept.sweep()
        expired = kept.expired()
    except (VokiError, OSError) as error:
        log.error("purge_failed", why=str(error))
        return
    for call in expired:
        try:
            kept.erase(call, by="recorder", reason="the time for which it was kept is over")
        except VokiError as error:
            log.error("purge_failed", directory=str(call.directory), why=str(error))
        else:
            log.info("call_purged", directory=str(call.directory))


def _gauge(call: Attendance) -> Callable[[float], None]:
    def progress(share: float) -> None:
        call.metrics.gauge("finishing", share)

    return progress


def _tell(log: Log, directory: Path, made: dict[str, Any]) -> bool:
    """Log how it went; True if the recording does not add up, which is never hidden."""
    log.info(
        "call_finished",
        directory=str(directory),
        files=[output["path"] for output in made["finish"]["outputs"]],
    )
    violations = made["invariant"]["violations"]
    if violations:
        log.error("recording_unsound", directory=str(directory), violations=violations)
    return bool(violations)
