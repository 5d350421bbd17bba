"""A sandbox in a process of its own, and calls in it.

The sandbox is never in the process of the test: it is the far end, and what we cure in aiortc must not cure
it too.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from voki_bots.bots.account import Account, Credentials
from voki_bots.bots.accounts import Accounts
from voki_bots.bots.bot import Bot
from voki_bots.bots.crew import Crew, archive_for, entered
from voki_bots.bots.registry import Registry
from voki_bots.bots.session import CallSession
from voki_bots.calls import Call
from voki_bots.errors import ConfigurationError, ConnectionLostError

if TYPE_CHECKING:
    import aiohttp

START = 30.0
"""Seconds that the sandbox may take to get ready on a busy machine."""

STOP = 5.0
"""Seconds that it may take to end."""


class SandboxProcess:
    """``python -m voki_bots.sandbox`` as a child; it also ends when we die, for its standard input closes.

    Args:
        arguments: Further options of the sandbox.

    Raises:
        ConnectionLostError: If it does not get ready.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "voki_bots.sandbox", "--json", "--port", "0", "--stdin-guard"]
        # A session of its own, or Ctrl-C would end it before the call in it is finished.
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        try:
            self.ready: dict[str, Any] = json.loads(line)
        except ValueError:
            self.close()
            raise ConnectionLostError(
                "the sandbox did not start; try `voki-bots sandbox` to see why (it needs voki-bots[sandbox])"
            ) from None

    @property
    def url(self) -> str:
        """Where its REST API is."""
        return str(self.ready["url"])

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def close(self) -> None:
        """End it."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(slots=True)
class Person:
    """Somebody scripted in a call."""

    id: str
    user_id: str | None
    name: str
    role: str


@dataclass(slots=True)
class SimCall:
    """One call in the sandbox, and the means to disturb it.

    Attributes:
        call: As a bot knows it before it joins.
        people: Who takes part, in the order of joining.
    """

    call: Call
    people: list[Person]
    _sim: Sim = field(repr=False)

    @property
    def id(self) -> str:
        """The call's id."""
        return self.call.call_id

    async def state(self) -> dict[str, Any]:
        """What the sandbox knows of the call."""
        found: dict[str, Any] = await self._sim.control("GET", f"/calls/{self.id}")
        return found

    async def fault(self, name: str, **parameters: Any) -> None:
        """Play a fault by name, now."""
        await self._sim.control("POST", f"/calls/{self.id}/faults", {"name": name, **parameters})

    async def end(self, reason: str = "completed") -> None:
        """End the call."""
        await self._sim.control("POST", f"/calls/{self.id}/end", {"reason": reason})

    async def join(self, role: str, **script: Any) -> None:
        """Let one more person join."""
        await self._sim.control("POST", f"/calls/{self.id}/people", {"role": role, **script})

    async def leave(self, person: Person) -> None:
        """Let somebody leave."""
        await self._sim.control("DELETE", f"/calls/{self.id}/people/{person.id}")

    async def press(self, person: Person, digits: str, *, seconds: float = 0.1) -> None:
        """Let somebody press keys of their telephone, each for so many seconds."""
        body = {"digits": digits, "seconds": seconds}
        await self._sim.control("POST", f"/calls/{self.id}/people/{person.id}/digits", body)

    async def sent(self, person: Person, path: Path) -> Path:
        """Write exactly the packets that somebody sent as Ogg/Opus."""
        audio = await self._sim.raw(f"/calls/{self.id}/people/{person.id}/sent")
        await asyncio.to_thread(path.write_bytes, audio)
        return path

    async def until(
        self, condition: Callable[[dict[str, Any]], object], what: str, timeout: float = 20.0
    ) -> dict[str, Any]:
        """Wait until the call's state fulfils a condition.

        Raises:
            TimeoutError: If it does not; the message says what was waited for, and the last state.
        """
        state: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout):
                while not condition(state := await self.state()):  # noqa: ASYNC110 - it is in another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"{what} did not happen within {timeout:g} s; state: {state}") from None
        return state

    async def heard_by_bots(self, packets: int, timeout: float = 30.0) -> None:
        """Wait until every connected person's packets reached every bot so many times."""

        def heard(state: dict[str, Any]) -> bool:
            bots = [bot for bot in state["bots"] if bot["connected"]]
            people = [p["id"] for p in state["people"] if p["left_at"] is None]
            return bool(bots) and all(bot["forwarded"].get(p, 0) >= packets for bot in bots for p in people)

        await self.until(heard, f"{packets} packets of everybody reaching the bots", timeout)


class Sim:
    """Calls in a running sandbox; use it as ``async with``.

    Args:
        sandbox: The process, which may be shared.
        directory: Where recordings go.
        receive_path: The best receive path that bots may use.
    """

    def __init__(self, sandbox: SandboxProcess, directory: Path, *, receive_path: str = "tick") -> None:
        self._sandbox = sandbox
        self._receive_path = receive_path
        self.directory = directory
        self._stack = AsyncExitStack()
        self._calls: list[SimCall] = []

    async def __aenter__(self) -> Self:
        import aiohttp

        self._http: aiohttp.ClientSession = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30.0))
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # People speak until their call ends, and the sandbox is shared.
            for call in self._calls:
                await call.end()
        finally:
            await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where the sandbox's REST API is."""
        return self._sandbox.url

    @property
    def tenant(self) -> str:
        """Its tenant."""
        return str(self._sandbox.ready["tenant"])

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the sandbox's control API.

        Raises:
            ConfigurationError: With the sandbox's own sentence, if it refuses.
        """
        async with self._http.request(method, f"{self._sandbox.ready['control']}{path}", json=body) as answer:
            if answer.status >= 400:
                raise ConfigurationError(
                    f"the sandbox refused {method} {path}: {(await answer.text())[:300]}"
                )
            return await answer.json() if answer.content_type == "application/json" else None

    async def raw(self, path: str) -> bytes:
        """Get bytes from the control API."""
        async with self._http.get(f"{self._sandbox.ready['control']}{path}") as answer:
            answer.raise_for_status()
            return await answer.read()

    async def user(self, name: str = "Minutes", role: str = "supervisor") -> Credentials:
        """Make a user for a bot."""
        made = await self.control("POST", "/users", {"name": name, "role": role})
        return Credentials(
            url=self.url,
            tenant=self.tenant,
            email=made["email"],
            password=lambda: str(made["password"]),
            loopback=True,
            receive_path=self._receive_path,
        )

    async def call(
        self,
        *people: str | Mapping[str, Any],
        switches: Mapping[str, Any] | None = None,
        department_id: str | None = None,
        **more: Any,
    ) -> SimCall:
        """Make a call.

        Args:
            people: Roles (``"attendant"``), or scripts (``{"role": "customer", "tone": 440}``); by default
                an attendant and a customer who speak and join after the bot.
            switches: How the platform behaves in this call.
            department_id: Its department; a new one by default.
            more: Further fields of the control API.
        """
        scripts = [_script(one) for one in people or ("attendant", "customer")]
        body: dict[str, Any] = {
            "people": scripts,
            "switches": dict(switches or {}),
            "status": "active",
            **more,
        }
        if department_id is None:
            department_id = (await self.control("POST", "/departments", {}))["department_id"]
        made = await self.control("POST", "/calls", {**body, "department_id": department_id})
        cast = [Person(p["id"], p.get("user_id"), p["name"], p["role"]) for p in made["people"]]
        call = SimCall(Call(self.tenant, made["call_id"], department_id=department_id), cast, self)
        self._calls.append(call)
        return call

    @asynccontextmanager
    async def account(self, credentials: Credentials | None = None) -> AsyncIterator[Account]:
        """Sign in."""
        async with Account(credentials or await self.user()) as account:
            yield account

    @asynccontextmanager
    async def attend(
        self,
        call: SimCall,
        bot: Bot,
        *,
        account: Account | None = None,
        registry: Registry | None = None,
    ) -> AsyncIterator[CallSession]:
        """Let a bot attend a call; its recordings go below `directory`."""
        async with AsyncExitStack() as stack:
            if account is None:
                account = await stack.enter_async_context(self.account())
            plugins = bot.plugins(registry or Registry())
            await stack.enter_async_context(entered(bot, plugins))
            accounts = await stack.enter_async_context(Accounts())
            crew = Crew(bot, plugins, archive_for(bot, plugins, self.directory), account, accounts)
            yield await stack.enter_async_context(crew.session(call.call))


def _script(person: str | Mapping[str, Any]) -> dict[str, Any]:
    script = {"role": person} if isinstance(person, str) else dict(person)
    names = {"attendant": "Ana", "customer": "Carlos", "supervisor": "Marina"}
    defaults = {"name": names.get(script["role"], "Guest"), "joins": "after_bot"}
    if "tone" not in script:
        defaults["speech"] = "pt"
    return {**defaults, **script}
