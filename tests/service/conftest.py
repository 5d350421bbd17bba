"""A service in this process, against the sandbox."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from voki_bots import Bot
from voki_bots.service.run import serve
from voki_bots.settings import load
from voki_bots.testing.sim import Sim


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A running service and its API."""

    def __init__(self, port: int, task: asyncio.Task[None], user_id: str) -> None:
        self.user_id = user_id
        self.url = f"http://127.0.0.1:{port}"
        self.task = task

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the API; gives status and body."""
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, timeout: float = 20.0) -> Any:
        """Wait until something is true."""
        try:
            async with asyncio.timeout(timeout):
                while not (found := await condition()):
                    assert not self.task.done() or self.task.exception() is None, self.task.exception()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s") from None
        return found

    async def ready(self) -> bool:
        """Whether calls can be attended now."""
        try:
            return (await self.get("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False


@pytest.fixture
def running(sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Give the means to run bots as a service while an ``async with`` lasts."""

    @asynccontextmanager
    async def run(*bots: Bot, voki: str = "", service: str = "poll = 0.5") -> AsyncIterator[Running]:
        user = await sim.control("POST", "/users", {"name": "Minutes", "role": "supervisor"})
        port = free_port()
        for name in ("URL", "TENANT", "EMAIL"):
            monkeypatch.delenv(f"VOKI_{name}", raising=False)
        monkeypatch.setenv("VOKI_PASSWORD", user["password"])
        config = tmp_path / "service.toml"
        config.write_text(
            f'[voki]\nurl = "{sim.url}"\ntenant = "{sim.tenant}"\nemail = "{user["email"]}"\n{voki}\n'
            f'[service]\nport = {port}\n{service}\n[archive]\ndirectory = "{tmp_path / "calls"}"\n'
        )
        stop = asyncio.Event()
        task = asyncio.create_task(serve(load(config, bots), stop=stop))
        it = Running(port, task, user["user_id"])
        try:
            await it.until(it.ready, "the service being ready")
            yield it
        finally:
            stop.set()
            await task

    return run
