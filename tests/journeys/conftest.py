"""What the journeys share: every test here plays a whole call, in real time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from voki_bots.bots.account import Credentials
from voki_bots.testing.signals import correlation, decode
from voki_bots.testing.sim import SandboxProcess, Sim, SimCall

RATE = 16_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.journey)


@pytest.fixture
async def sim(
    voki_sandbox: SandboxProcess, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Sim]:
    """Calls in the sandbox, on the receive path that is asked for (``pytest --receive-path hook``)."""
    path = getattr(request, "param", None) or request.config.getoption("--receive-path")
    async with Sim(voki_sandbox, tmp_path, receive_path=path) as running:
        yield running


def sidecar(directory: Path) -> dict[str, Any]:
    """Read what a bot wrote about a call."""
    found: dict[str, Any] = json.loads((directory / "call.json").read_text())
    return found


def journal(directory: Path) -> list[dict[str, Any]]:
    """Read a call's journal."""
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]


async def likeness(call: SimCall, directory: Path) -> dict[tuple[str, str], float]:
    """Correlate every file with what everybody sent, by (role of the track, role of the person)."""
    found: dict[tuple[str, str], float] = {}
    for person in call.people:
        voice = decode(await call.sent(person, directory.parent / f"{person.role}.sent.opus"), RATE)
        for track in sidecar(directory)["tracks"]:
            if track["file"]:
                heard = decode(directory / track["file"], RATE)
                key = (track["role"], person.role)
                found[key] = max(found.get(key, 0.0), correlation(heard, voice))
    return found


class Program:
    """`voki-bots` in a process of its own, whose JSON log lines can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            async with self._more:
                try:
                    self.lines.append(json.loads(raw))
                except ValueError:
                    self.lines.append({"event": "text", "text": raw.decode()})
                self._more.notify_all()

    async def logged(self, event: str, timeout: float = 20.0, **fields: object) -> dict[str, Any]:
        """Wait for a log line."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}
            return next((line for line in self.lines if wanted.items() <= line.items()), None)

        try:
            async with asyncio.timeout(timeout), self._more:
                await self._more.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise TimeoutError(f"no log line {event} {fields}; there were: {self.lines}") from None
        line = found()
        assert line is not None
        return line

    async def changed(self, timeout: float = 20.0) -> None:
        """Wait for any further log line."""
        async with asyncio.timeout(timeout), self._more:
            await self._more.wait()

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait for its exit status."""
        async with asyncio.timeout(timeout):
            status = await self.process.wait()
            await self._reading
        return status


def environment(user: Credentials, **more: str) -> dict[str, str]:
    """What a program needs to sign in as a user of the sandbox."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VOKI_")}
    return inherited | {
        "VOKI_URL": user.url,
        "VOKI_TENANT": user.tenant,
        "VOKI_EMAIL": user.email,
        "VOKI_PASSWORD": user.password(),
        **more,
    }


@asynccontextmanager
async def program(*arguments: str, env: Mapping[str, str]) -> AsyncIterator[Program]:
    """Run `voki-bots`; it is ended by SIGTERM if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voki_bots",
        *arguments,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Program(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await running.ended()
            except TimeoutError:
                process.kill()
                await running.ended()


async def eventually(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Wait until something outside this process is true."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"{what} did not happen within {timeout:g} s") from None
