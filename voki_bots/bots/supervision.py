"""A supervisor in a call: to listen, to whisper to the attendant, or to be heard by all.

How Voki lets a supervisor do so is not documented (question Q29): the way is configured, never guessed, and
without one nobody speaks. A supervisor has a session of his own, of his own account, so that nothing of it
touches a recording; while he listens it has no sender at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from voki_bots.bots.account import Account
from voki_bots.bots.accounts import Accounts
from voki_bots.bots.arming import SupervisionGate
from voki_bots.bots.gate import Closing, GateState, Refusal
from voki_bots.bots.login import Login
from voki_bots.bots.plugin import Plugin
from voki_bots.bots.profile import host_of, load_profile
from voki_bots.bots.session import CallSession
from voki_bots.calls import HELD_STATUSES, Call, Participant, Role, Supervision
from voki_bots.errors import (
    AuthenticationError,
    JoinRefusedError,
    ReplyTimeoutError,
    SignallingError,
    SupervisionError,
    VokiError,
)
from voki_bots.media.live import Live
from voki_bots.media.prompts import Prompt
from voki_bots.media.rtp import Received

_log = structlog.get_logger(__name__)

UP = 15.0
"""Seconds that media may take until a mode can be taken."""

CONFIRM = 5.0
"""Seconds that the platform may take to say that a mode was taken."""

HEARD_BY = {
    Supervision.MONITOR: (),
    Supervision.WHISPER: (Role.ATTENDANT,),
    Supervision.BARGE: (Role.ATTENDANT, Role.CUSTOMER),
}
"""Who hears a supervisor, by mode. A supervisor hears everybody in each of them."""

TRIES = 3
"""How often it is armed: an SFU may renegotiate just after somebody came."""

LOOK = 0.02


class SupervisionStrategy(BaseModel):
    """How the platform is asked for a mode: nothing of it is documented, so all of it is configured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["rest", "push", "join"] = Field(
        description="a REST call, an event of the call's channel, or a parameter of its join"
    )
    path: str = Field(default="", description="of the REST call, with {call}: /api/v1/calls/{call}/supervise")
    event: str = Field(default="", description="of the channel")
    body: Mapping[str, str] = Field(
        default={"mode": "{mode}"}, description="what is sent; {mode} is monitor, whisper or barge"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.by == "rest" and (not self.path.startswith("/") or "{call}" not in self.path):
            raise ValueError("path: expected an absolute path with {call} in it")
        if self.by == "push" and not self.event:
            raise ValueError("event: expected the name of the event that asks for it")
        if not any("{mode}" in value for value in self.body.values()):
            raise ValueError("body: nothing in it says {mode}")
        return self

    def asked(self, mode: Supervision) -> dict[str, str]:
        """What is sent for a mode."""
        return {name: value.replace("{mode}", str(mode)) for name, value in self.body.items()}

    async def act(self, session: CallSession, account: Account, mode: Supervision) -> None:
        """Ask the platform for a mode, and wait until it has taken that; a join asked for it already.

        Raises:
            SupervisionError: If the platform refuses, or does not answer.
        """
        try:
            match self.by:
                case "rest":
                    path = self.path.replace("{call}", quote(session.call.call_id, safe=""))
                    await account.command(path, self.asked(mode))
                case "push":
                    reply = await session.push(self.event, self.asked(mode))
                    if reply.status != "ok":
                        raise Refusal(Closing.NOT_PERMITTED).error(str(mode))
        except (AuthenticationError, JoinRefusedError):
            raise Refusal(Closing.NOT_PERMITTED).error(str(mode)) from None
        except ReplyTimeoutError:
            raise Refusal(Closing.NOT_CONFIRMED).error(str(mode)) from None
        except SignallingError as error:
            raise SupervisionError(
                f"cannot speak ({mode}): {error}", mode=str(mode), why=str(Closing.NOT_CONFIRMED)
            ) from None


class Supervisor:
    """One supervisor in one call; use it as ``async with``.

    Args:
        call: The call.
        account: His own.
        strategy: How the platform is asked.
        archive: Where the journals of his sessions go.
        plugins: Take part in his sessions, entered.
        proven: Modes that a signed profile proves for this tenant.
        name: How his sessions are named in journals.
        paused: Whether the recording of the call is paused by somebody else's session.
        spoken: Takes every packet that he says in a whisper, which nobody else's session receives.
    """

    def __init__(
        self,
        call: Call,
        account: Account,
        strategy: SupervisionStrategy,
        *,
        archive: Path,
        plugins: Collection[Plugin[Any]] = (),
        proven: Collection[Supervision] = (),
        name: str = "supervisor",
        paused: Callable[[], bool] = lambda: False,
        spoken: Callable[[Received], None] = lambda _: None,
    ) -> None:
        self._call = call
        self._account = account
        self._strategy = strategy
        self._archive = archive
        self._plugins = tuple(plugins)
        self._proven = frozenset(proven)
        self._name = name
        self._paused = paused
        self._spoken = spoken
        self._monitoring = False
        self._life: asyncio.Task[None] | None = None
        self._go = asyncio.Event()
        self._lock = asyncio.Lock()
        self.session: CallSession | None = None
        self.gate: SupervisionGate | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._leave()

    @property
    def user_id(self) -> str:
        """Who he is at the platform."""
        return self._account.user_id

    @property
    def mode(self) -> Supervision | None:
        """The mode that is taken; None while none is."""
        if self._monitoring:
            return Supervision.MONITOR
        return self.gate.mode if self.gate is not None else None

    @property
    def state(self) -> GateState:
        """Where the gate is; who listens has none that could open."""
        return self.gate.state if self.gate is not None else GateState.LISTENING

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be said now; None while it can."""
        return Refusal(Closing.NOT_ARMED) if self.gate is None else self.gate.refusal()

    async def monitor(self) -> CallSession:
        """Listen to the call; nothing of us can be heard, for the session has no sender.

        The platform is asked all the same: whoever is supervised is told so.

        Raises:
            SupervisionError: If the platform refuses.
        """
        async with self._lock:
            session = await self._enter(Supervision.MONITOR)
            await self._strategy.act(session, self._account, Supervision.MONITOR)
            session.record("supervising", mode=str(Supervision.MONITOR))
            self._monitoring = True
            return session

    async def whisper(self, prompt: Prompt | Live) -> float:
        """Say something that the attendant alone hears; see `speak`."""
        return await self.speak(Supervision.WHISPER, prompt)

    async def barge(self, prompt: Prompt | Live) -> float:
        """Say something that everybody hears; see `speak`."""
        return await self.speak(Supervision.BARGE, prompt)

    async def speak(self, mode: Supervision, prompt: Prompt | Live) -> float:
        """Say something in a mode; it is armed anew if it is not armed for this mode.

        Args:
            mode: `WHISPER` or `BARGE`.
            prompt: What is said; of a voice that is live, what comes until it is released.

        Returns:
            Seconds that were played.

        Raises:
            SupervisionError: If it cannot be armed, or the gate closes while it is said.
        """
        async with self._lock:
            await self._arm(mode)
            assert self.session is not None
            known = {"seconds": prompt.seconds} if isinstance(prompt, Prompt) else {}
            self.session.record("speaking", mode=str(mode), prompt=prompt.name, **known)
            played = await self.session.say(prompt)
            self.session.record("spoken", mode=str(mode), prompt=prompt.name, seconds=round(played, 3))
            return played

    # ------------------------------------------------------------ arming

    async def _arm(self, mode: Supervision) -> None:
        """Arm, again if nothing but a renegotiation came between: nothing was said yet."""
        for left in reversed(range(TRIES)):
            try:
                await self._arm_once(mode)
            except SupervisionError as error:
                if error.why != Closing.RENEGOTIATION or not left:
                    raise
            else:
                return

    async def _arm_once(self, mode: Supervision) -> None:
        session = self.session
        if self.gate is None or session is None or self._joined_for(mode):
            session = await self._enter(mode)
        gate = self.gate
        assert gate is not None
        if gate.mode is mode and gate.refusal() is None:
            return
        await self._until(lambda: session.connected, UP, Closing.NOT_CONNECTED, mode)
        await self._not_held(session, mode)
        if mode is Supervision.WHISPER and not self._attended(session):
            raise Refusal(Closing.NOT_THERE).error(str(mode))
        gate.take(mode)
        session.record("arming", mode=str(mode))
        try:
            await self._strategy.act(session, self._account, mode)
            gate.acted()
            await self._confirmed(gate, mode)
        except BaseException:
            gate.close(Closing.STOPPED)
            raise
        session.record("armed", mode=str(mode))

    async def _confirmed(self, gate: SupervisionGate, mode: Supervision) -> None:
        """Wait until it is open; anything but waiting for the platform's word is told at once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONFIRM
        while (refusal := gate.refusal()) is not None:
            if refusal.why is not Closing.NOT_CONFIRMED or loop.time() > deadline:
                raise refusal.error(str(mode))
            await asyncio.sleep(LOOK)

    async def _not_held(self, session: CallSession, mode: Supervision) -> None:
        """Ask the platform how the call is: what nobody hears is not said. Not knowing it stops nothing."""
        try:
            status = (await self._account.call(session.call.call_id)).status
        except VokiError:
            return
        if status in HELD_STATUSES:
            raise Refusal(Closing.ON_HOLD).error(str(mode))

    @staticmethod
    async def _until(condition: Any, seconds: float, why: Closing, mode: Supervision) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 - of another task
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise Refusal(why).error(str(mode)) from None

    @staticmethod
    def _attended(session: CallSession) -> bool:
        return any(who.role is Role.ATTENDANT and who.present for who in session.roster.participants)

    def _joined_for(self, mode: Supervision) -> bool:
        """Whether the mode is taken by joining, and another one was."""
        return self._strategy.by == "join" and self.gate is not None and self.gate.mode is not mode

    # ------------------------------------------------------------ sessions

    async def _enter(self, mode: Supervision) -> CallSession:
        """Join the call anew: with a sender, or without."""
        await self._leave()
        speaks = mode is not Supervision.MONITOR
        proven, paused = self._proven, self._paused
        self.gate = SupervisionGate(self.user_id, proven=proven, paused=paused) if speaks else None
        session = CallSession(
            self._call,
            self._account,
            bot=self._name,
            plugins=self._plugins,
            archive=self._archive,
            speaks=speaks,
            gate=self.gate,
            sent=self._said,
            join={"supervise": str(mode)} if self._strategy.by == "join" else None,
        )
        # It lives in a task of its own, for it outlasts whoever asked for this mode.
        entered = asyncio.Event()
        life = self._live(session, entered, self._go)
        self._life = asyncio.create_task(life, name=f"session of {self._name}")
        try:
            await _either(entered.wait(), asyncio.shield(self._life))
            if not entered.is_set():
                await self._life  # it says why
        except BaseException:
            await self._leave()
            raise
        self.session = session
        return session

    @staticmethod
    async def _live(session: CallSession, entered: asyncio.Event, go: asyncio.Event) -> None:
        """Keep a session until it is told to go, or ends by itself."""
        async with session:
            entered.set()
            await _either(go.wait(), session.ended())

    def _said(self, packet: Received) -> None:
        if self.mode is Supervision.WHISPER:  # a barge is heard by every session, as any other voice
            self._spoken(packet)

    async def _leave(self) -> None:
        self._monitoring = False
        life, self._life = self._life, None
        self.session = self.gate = None
        if life is not None:
            self._go.set()
            (problem,) = await asyncio.gather(life, return_exceptions=True)
            self._go = asyncio.Event()
            if problem is not None:
                _log.warning("supervision_failed", by=self._name, why=f"{type(problem).__name__}: {problem}")


async def _either(*work: Awaitable[Any]) -> None:
    """Wait until one of these is done."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def supervising(
    accounts: Accounts,
    session: CallSession,
    login: Login,
    strategy: SupervisionStrategy,
    *,
    proof: tuple[Path, str] | None = None,
    name: str = "supervisor",
) -> AsyncIterator[Supervisor]:
    """A supervisor in another session's call; its pauses silence him, and its recording has his whispers.

    Args:
        accounts: Sign him in.
        session: Attends the call already.
        login: His own account.
        strategy: How the platform is asked.
        proof: A profile, and the public key of who signed it or a file that holds it.
        name: How he is called in journals.

    Raises:
        ConfigurationError: If a file of his account cannot be read, or the profile proves nothing here.
        AuthenticationError: If the platform refuses it.
    """
    proven: frozenset[Supervision] = frozenset()
    if proof is not None:
        path, key = proof
        trusted = key if key.startswith("ed25519:") else Path(key)
        host = host_of(session.credentials.url)
        proven = load_profile(path, trusted=trusted, tenant=session.call.tenant, host=host).proven
    account = await accounts.account(session.credentials.of(login, path=f"{name}.login"))
    him = Participant(account.user_id, name, Role.SUPERVISOR)
    async with Supervisor(
        session.call,
        account,
        strategy,
        archive=session.archive,
        proven=proven,
        name=name,
        paused=lambda: bool(session.privacy.pauses),
        spoken=session.overheard(him),
    ) as supervisor:
        yield supervisor
