"""Lines of JSON between processes, over stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

LINE = 1 << 22


def tell(**what: Any) -> None:
    """Say something to whoever started this process."""
    sys.__stdout__.write(json.dumps(what) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


async def told() -> AsyncIterator[dict[str, Any]]:
    """Yield what whoever started this process says, until they hang up."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


class Child:
    """A process that we started and talk to. Use it as an async context manager; it is killed at the end.

    Args:
        arguments: Its command.
        quiet: Throw away what it writes to stderr.
    """

    def __init__(self, *arguments: str, quiet: bool = True) -> None:
        self._arguments = arguments
        self._quiet = quiet

    async def __aenter__(self) -> Child:
        self.process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL if self._quiet else None,
            limit=LINE,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 5)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def say(self, **what: Any) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def hear(self, name: str, timeout: float = 60.0) -> Any:
        """Wait for the line with this key, and give its value; others are passed over.

        Raises:
            RuntimeError: If the process ends, or says that it failed.
        """
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout):
            while line := await self.process.stdout.readline():
                try:
                    said = json.loads(line)
                except ValueError:
                    continue
                if "failed" in said:
                    raise RuntimeError(said["failed"])
                if name in said:
                    return said[name]
        raise RuntimeError(f"{self._arguments[2:5]} ended (status {self.process.returncode})")
