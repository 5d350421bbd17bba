"""Debian's Chromium without a window, told what to do over the DevTools protocol on a pipe."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import itertools
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.places import program

FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-web-security",  # the page is not of the sandbox's origin
    "--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter,OptimizationHints",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--mute-audio",
    "--remote-debugging-pipe",
)
_numbers = itertools.count(1)
ANSWER = 30.0
"""Seconds that a command may take on a busy machine."""


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def run(self, expression: str) -> Any:
        """Evaluate JavaScript, a promise to its end.

        Raises:
            AssertionError: If it throws.
        """
        wanted = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = await self._browser.command("Runtime.evaluate", wanted, self._session)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def call(self, function: str, *arguments: object) -> Any:
        """Call a function of the page."""
        return await self.run(f"{function}({', '.join(json.dumps(one) for one in arguments)})")

    async def until(self, condition: Callable[[Any], object], what: str, timeout: float = 20.0) -> Any:
        """Wait until the page's `state()` fulfils a condition."""
        deadline = time.monotonic() + timeout
        while not condition(state := await self.run("state()")):
            assert time.monotonic() < deadline, f"{what} did not happen within {timeout:g} s; {state}"
            await asyncio.sleep(0.1)
        return state

    async def true(self, expression: str, timeout: float = 20.0) -> None:
        """Wait until an expression of the page is true."""
        deadline = time.monotonic() + timeout
        while not await self.run(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"{expression} did not become true within {timeout:g} s"
            await asyncio.sleep(0.05)

    async def seen(self, *, width: int, height: int, dark: bool = False) -> bytes:
        """Take a picture of the page, PNG, as on a screen of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self._browser.command("Emulation.setDeviceMetricsOverride", metrics, self._session)
        await self._browser.command("Emulation.setEmulatedMedia", {"features": scheme}, self._session)
        found = await self._browser.command("Page.captureScreenshot", {"format": "png"}, self._session)
        return base64.b64decode(found["data"])

    async def kill(self) -> None:
        """End the tab's process, as a crash does: the page can say nothing any more."""
        self._browser.send("Page.crash", {}, self._session)
        await self._browser.happened("Inspector.targetCrashed", self._session)


class Browser:
    """A running Chromium; every message is JSON, ended by a zero byte."""

    def __init__(self, reader: asyncio.StreamReader, write: int) -> None:
        self._reader = reader
        self._write = write
        self._tabs: set[str] = set()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: list[tuple[str, str | None]] = []
        self._more = asyncio.Event()

    async def read(self) -> None:
        """Take what the browser says, until it ends."""
        try:
            while True:
                message = self._parsed(await self._reader.readuntil(b"\0"))
                waiting = self._waiting.pop(message.get("id", 0), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
                elif "method" in message:
                    self._events.append((message["method"], message.get("sessionId")))
                    self._more.set()
        except asyncio.IncompleteReadError:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(AssertionError("the browser has ended"))

    @staticmethod
    def _parsed(line: bytes) -> dict[str, Any]:
        with suppress(ValueError):  # the end of something that was meant for the test before
            message: dict[str, Any] = json.loads(line[:-1])
            return message
        return {}

    async def close_tabs(self) -> None:
        """Close every tab that was opened here."""
        for target in self._tabs:
            with suppress(AssertionError, TimeoutError):  # it has crashed, or the browser has
                await self.command("Target.closeTarget", {"targetId": target})

    def send(self, method: str, parameters: dict[str, Any], session: str | None = None) -> int:
        """Send a command whose answer nobody waits for; gives its number."""
        number = next(_numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return number

    async def command(
        self, method: str, parameters: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self.send(method, parameters, session)] = answer
        async with asyncio.timeout(ANSWER):
            found = await answer
        assert "error" not in found, f"{method}: {found.get('error')}"
        result: dict[str, Any] = found["result"]
        return result

    async def happened(self, event: str, session: str) -> None:
        """Wait for an event of a tab."""
        async with asyncio.timeout(ANSWER):
            while (event, session) not in self._events:
                self._more.clear()
                await self._more.wait()

    async def open(self, url: str, ready: str = "typeof state === 'function'") -> Page:
        """Open a page in a new tab, and wait until an expression of it is true."""
        made = await self.command("Target.createTarget", {"url": "about:blank"})
        attached = await self.command(
            "Target.attachToTarget", {"targetId": made["targetId"], "flatten": True}
        )
        session = str(attached["sessionId"])
        self._tabs.add(made["targetId"])
        for domain in ("Page", "Inspector"):
            await self.command(f"{domain}.enable", {}, session)
        await self.command("Page.navigate", {"url": url}, session)
        page = Page(self, session)
        async with asyncio.timeout(ANSWER):
            while not await page.run(ready):
                await asyncio.sleep(0.05)
        return page


@dataclass(frozen=True)
class Chromium:
    """A browser that runs, and the two ends of its pipe that are ours."""

    process: subprocess.Popen[bytes]
    reading: int
    writing: int

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Browser]:
        """Talk to it for as long as one test takes; its tabs are closed then."""
        reader = asyncio.StreamReader(limit=2**24)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(self.reading), "rb", 0)
        )
        browser = Browser(reader, self.writing)
        listening = asyncio.create_task(browser.read())
        try:
            yield browser
        finally:
            await browser.close_tabs()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            transport.close()


@contextmanager
def chromium(profile: Path, wav: Path, *flags: str) -> Iterator[Chromium]:
    """A browser whose microphone hears a WAV file over and over; its profile is its own."""
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *flags]
    command += [f"--use-file-for-fake-audio-capture={wav}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")
    (theirs_in, writing), (reading, theirs_out) = _pipe(), _pipe()
    # The protocol is spoken on descriptors 3 and 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command]
    with program(shell, pass_fds=(theirs_in, theirs_out), start_new_session=True) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            if os.geteuid() != 0:  # its own sandbox needs what containers often do not give
                with suppress(subprocess.TimeoutExpired):
                    pytest.skip(f"chromium does not start here: it ended with {process.wait(2.0)}")
            yield Chromium(process, reading, writing)
        finally:
            os.close(reading)
            os.close(writing)


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are none of those that a browser is given."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
