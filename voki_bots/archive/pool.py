"""Finishing calls in processes of their own, never on the event loop.

Each call is one ``python -m voki_bots.archive``, at a low priority, so that live calls do not notice;
no more than a few run at once. A process of its own, and not a fork or a spawned copy of this program,
because it must not run the program's main module again, nor inherit its sockets, threads or codecs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voki_bots.archive.finish import Progress, finish
from voki_bots.archive.options import FinishOptions
from voki_bots.errors import ConfigurationError, FileWriteError, MediaError, VokiError
from voki_bots.media.encrypted import Keys

_LINE_LIMIT = 1 << 24
_NICE = 10
_ENDING = 5.0


class FinishPool:
    """Finishes calls beside this process; use it as ``async with``.

    Args:
        size: How many at once; by default all cores but one, at least one.
        runs: Called with the folder whenever a process has begun, for those who count.
    """

    def __init__(self, size: int | None = None, *, runs: Callable[[Path], None] = lambda _: None) -> None:
        self.size = size or max(1, (os.cpu_count() or 1) - 1)
        self._slots = asyncio.Semaphore(self.size)
        self._runs = runs

    async def finish(
        self,
        directory: Path,
        options: FinishOptions | None = None,
        *,
        progress: Progress = lambda _: None,
        patience: float = 0.0,
        identity: Path | None = None,
        plain: bool = False,
    ) -> dict[str, Any]:
        """Finish one call; see `voki_bots.archive.finish.finish`. Cancelling it ends its process.

        Args:
            directory: The folder of the call.
            options: What to make.
            progress: Told the share that is done.
            patience: Seconds to wait for a session that is about to end.
            identity: The file of the keys that decrypt it; they are read by the process alone.
            plain: Leave what is made of an encrypted call readable for everybody.

        Returns:
            What the sidecar says of it: ``finish`` and ``invariant``.

        Raises:
            FileWriteError: If somebody still writes to the folder, or the disk does not let us.
            MediaError: If the process fails otherwise.
        """
        async with self._slots:
            wanted: dict[str, Any] = {"directory": str(directory), "patience": patience, "plain": plain}
            if identity is not None:
                wanted["identity"] = str(identity)
            return await self._run(directory, options, progress, wanted)

    async def _run(
        self,
        directory: Path,
        options: FinishOptions | None,
        progress: Progress,
        wanted: dict[str, Any],
    ) -> dict[str, Any]:
        if options is not None:
            wanted["options"] = options.as_json()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # whatever lies in the directory that we happen to be in is no module of ours
            "-m",
            "voki_bots.archive",
            json.dumps(wanted),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C ends our calls, and is no reason not to finish them
        )
        self._runs(directory)
        try:
            result, errors = await asyncio.gather(self._follow(process, progress), _read(process.stderr))
            status = await process.wait()
        finally:
            await _end(process)
        if result is None:
            why = errors.decode("utf-8", "replace").strip().splitlines()
            raise MediaError(f"{directory} was not finished: {why[-1] if why else f'exit status {status}'}")
        if "error" in result:
            raise FileWriteError(str(result["error"]), path=str(result.get("path", directory)))
        return dict(result)

    async def _follow(self, process: asyncio.subprocess.Process, progress: Progress) -> dict[str, Any] | None:
        assert process.stdout is not None
        result: dict[str, Any] | None = None
        async for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                progress(float(said["done"]))
            else:
                result = said
        return result


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that was cancelled; its call is finished at the next start."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_ENDING):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def run(arguments: list[str]) -> int:
    """Finish the call that the one argument names as JSON, and tell of it in JSON lines; the child's side."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    wanted = json.loads(arguments[0])
    options = FinishOptions.of(wanted["options"]) if "options" in wanted else None
    told = -1

    def progress(share: float) -> None:
        nonlocal told
        if (percent := int(share * 100)) > told:
            told = percent
            _say(done=share)

    try:
        sidecar = finish(
            Path(wanted["directory"]),
            options,
            progress=progress,
            patience=float(wanted["patience"]),
            keys=Keys.from_file(Path(wanted["identity"])) if "identity" in wanted else None,
            plain=bool(wanted["plain"]),
        )
    except FileWriteError as error:
        _say(error=str(error), path=error.path)
    except (VokiError, ConfigurationError) as error:
        _say(error=str(error))
    else:
        _say(finish=sidecar["finish"], invariant=sidecar["invariant"])
    return 0


def _say(**facts: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked may be gone; the call is finished all the same
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
