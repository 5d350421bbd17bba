"""The steps of a probe: a closed test call of three, from the access link to the end of the call.

What goes wrong in a step is a finding; the probe goes on with what is left. Only where there can be no call
it raises. Whatever happens, the call is completed and everybody leaves it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import structlog

from voki_bots.bots.account import Credentials
from voki_bots.bots.profile import (
    HEARD,
    CapabilityProfile,
    MediaFindings,
    RejoinFindings,
    Routing,
    SignallingFindings,
    host_of,
    leaked,
)
from voki_bots.bots.supervision import SupervisionStrategy
from voki_bots.calls import Call, Role, Supervision
from voki_bots.errors import (
    ConfigurationError,
    JoinRefusedError,
    ReplyTimeoutError,
    SignallingError,
    VokiError,
)
from voki_bots.probe import findings
from voki_bots.probe.accounts import Guest, OverheardAccount
from voki_bots.probe.overheard import Log
from voki_bots.probe.party import Party, taking_part
from voki_bots.probe.routing import Measurement, Pace, sentence
from voki_bots.signalling.pace import AuthPace

CUSTOMER = "voki-bots probe"
"""The customer's name, by which people see what the call is."""

REPLY = 1.0
"""Seconds that the platform may take to answer a push."""

LAST = 1.0
"""Seconds that it may take to close the channels of a call that is over."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be probed, and as whom.

    Attributes:
        department: The test department.
        test_departments: Those that somebody has named as such.
        link: The token of an access link of the department.
        attendant: The attendant's account.
        supervisor: The supervisor's account.
        strategy: How the platform is asked for a mode.
        modes: Which modes are measured.
        late: Whether somebody who only listens joins late.
    """

    department: str
    test_departments: tuple[str, ...]
    link: str = field(repr=False)
    attendant: Credentials
    supervisor: Credentials
    strategy: SupervisionStrategy
    modes: tuple[Supervision, ...] = tuple(Supervision)
    late: bool = True

    def check(self) -> None:
        """Refuse what must not be probed.

        Raises:
            ConfigurationError: If the department is not named as one for tests, or both accounts are one.
        """
        if self.department not in self.test_departments:
            raise ConfigurationError(
                f"the department {self.department!r} is not named as one for tests: a probe makes a real "
                "call, lets tones be heard in it, and asks to supervise it. Make a department that no "
                'customer reaches, and name it: [probe] test_departments = ["…"]',
                path="probe.test_departments",
            )
        if self.attendant.email == self.supervisor.email:
            raise ConfigurationError(
                "probe: the attendant and the supervisor must be two accounts", path="probe.supervisor"
            )
        if not self.link:
            raise ConfigurationError(
                "probe.link: there is no access link of the department; set it, or --link", path="probe.link"
            )


class Probe:
    """One run of the probe.

    Args:
        plan: What, and as whom.
        software: Which version probes, for the profile.
        told: Told of each step, and of what it found.
        pace: How long things may take.
        wall: The time in UTC.

    Raises:
        ConfigurationError: If the plan must not be carried out.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        software: str,
        told: Callable[[str], None] = lambda _: None,
        pace: Pace | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        plan.check()
        self._plan = plan
        self._software = software
        self._told = told
        self._pace = pace or Pace()
        self._made = wall()
        self._signalling: dict[str, object] = {}
        self._media: dict[str, object] = {}
        self._rejoin: dict[str, object] = {}
        self._routing: dict[Supervision, Routing] = {}
        self._notes: list[str] = []
        self._completed = False

    async def run(self) -> CapabilityProfile:
        """Make the call, find out, and end it.

        Raises:
            AuthenticationError: If the platform refuses an account.
            ConfigurationError: If it does not take the access link, or that leads elsewhere.
            ConnectionLostError: If it cannot be reached.
        """
        try:
            async with asyncio.timeout(self._pace.whole):
                await self._all()
        except TimeoutError:
            self._note(f"the probe took longer than {self._pace.whole:g} s, and was ended")
        return self.profile()

    def profile(self) -> CapabilityProfile:
        """What was found so far; nobody has signed it."""
        return CapabilityProfile(
            tenant=self._plan.attendant.tenant,
            host=host_of(self._plan.attendant.url),
            department=self._plan.department,
            made=self._made.replace(microsecond=0),
            software=self._software,
            signalling=SignallingFindings.model_validate(self._signalling),
            media=MediaFindings.model_validate(self._media),
            rejoin=RejoinFindings.model_validate(self._rejoin),
            **{str(mode): found for mode, found in self._routing.items()},  # type: ignore[arg-type]
            notes=tuple(self._notes),
        )

    def _note(self, what: str) -> None:
        if (said := sentence(what)) not in self._notes:
            self._notes.append(said)
            self._told(f"not found out: {said}")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """A step whose failure is a finding."""
        try:
            yield
        except* VokiError as errors:
            for error in _leaves(errors):
                self._note(f"{what}: {error}")

    # ------------------------------------------------------------ the call

    async def _all(self) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voki-bots-probe-")))
            pace = AuthPace(loop.time)
            attendant = OverheardAccount(self._plan.attendant, Log(loop.time), pace=pace)
            supervisor = OverheardAccount(self._plan.supervisor, Log(loop.time), pace=pace)
            for account in (attendant, supervisor):
                await stack.enter_async_context(account)
            self._told("signed in: the attendant and the supervisor")
            self._signalling["socket_path"], self._signalling["serializer"] = attendant.sockets.sockets[
                0
            ].spoken
            admission = await attendant.rest.enter_queue(self._plan.link, CUSTOMER)
            call = Call(attendant.tenant, admission.call_id)
            async with self._call(call, attendant):
                await self._check_department(call, attendant)
                self._told(f"a call was made by the access link: {call.call_id}")
                guest = Guest(self._plan.attendant, admission, Log(loop.time))
                with self._step("the customer"):
                    async with guest:
                        await self._people(call, guest, attendant, supervisor, where)

    @asynccontextmanager
    async def _call(self, call: Call, attendant: OverheardAccount) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._complete(call, attendant)

    async def _complete(self, call: Call, attendant: OverheardAccount) -> None:
        """End the call, once."""
        if not self._completed:
            with self._step("ending the call"):
                await attendant.command(_path(call, "complete"), {})
                self._completed = True

    async def _check_department(self, call: Call, attendant: OverheardAccount) -> None:
        """Look where the link led, before anybody is in the call.

        Raises:
            ConfigurationError: If that is not the test department, or cannot be known.
        """
        try:
            found = (await attendant.call(call.call_id)).department_id
        except (SignallingError, ConfigurationError) as error:
            raise ConfigurationError(
                f"the platform does not say in which department the access link's call is: {error}",
                path="probe.link",
            ) from None
        if found != self._plan.department:
            raise ConfigurationError(
                f"the access link leads into the department {found!r}, not into {self._plan.department!r}; "
                "its call was ended",
                path="probe.link",
            )

    async def _people(
        self,
        call: Call,
        guest: Guest,
        attendant: OverheardAccount,
        supervisor: OverheardAccount,
        where: Path,
    ) -> None:
        accounts = (guest, attendant, supervisor)
        with self._step("joining a call that waits"):
            self._signalling["joins_queued"] = await _may_join(call, attendant)
        try:
            async with AsyncExitStack() as stack:
                first = await stack.enter_async_context(
                    taking_part(Role.CUSTOMER, guest, call, where / "customer")
                )
                await self._media_of(first)
                with self._step("assigning the call"):
                    await attendant.command(_path(call, "assign"), {})
                since = guest.log.now
                second = await stack.enter_async_context(
                    taking_part(Role.ATTENDANT, attendant, call, where / "attendant")
                )
                await self._media_of(second)
                with self._step("starting the call"):
                    await attendant.command(_path(call, "start"), {})
                await self._introduce(first, second, since)
                if self._plan.late:
                    with self._step("a late join"):
                        await self._late(call, supervisor, where)
                for number, mode in enumerate(self._plan.modes):
                    with self._step(str(mode)):
                        await self._measure(mode, call, supervisor, (second, first), where, first=not number)
                await self._end(call, attendant, accounts)
        finally:
            self._conclude(accounts)

    def _conclude(self, accounts: tuple[OverheardAccount, ...]) -> None:
        logs = [account.log for account in accounts]
        ids = [account.user_id for account in accounts]
        self._signalling |= findings.signalling(logs, ids)
        self._media |= findings.media(logs, ids)

    async def _media_of(self, party: Party) -> bool:
        up = await party.connected(self._pace.media)
        if up:
            self._told(f"media are up: the {party.role}")
        else:
            self._note(f"the {party.role}: no media within {self._pace.media:g} s")
        return up

    # ------------------------------------------------------------ the two who talk

    async def _introduce(self, customer: Party, attendant: Party, since: float) -> None:
        """Let both be heard by each other: who offers, who joined late, what is said of them."""
        log = customer.account.log
        mark = customer.now
        customer.speak()
        attendant.speak()
        heard, back = await asyncio.gather(
            customer.hears(Role.ATTENDANT, HEARD, mark, self._pace.hear),
            attendant.hears(Role.CUSTOMER, HEARD, attendant.now, self._pace.hear),
        )
        self._media["first_offer"] = findings.first_offer(log)
        self._media["glare"] = findings.glare(log)
        self._media["unanswered"] = findings.unanswered(log)
        self._media["late_join"] = findings.late_join(log, since, heard)
        self._media["own_line"] = findings.carries(findings.first_answer(attendant.account.log))
        self._media["certificate"] = customer.session.certificate
        self._told(f"who offers first: {self._media['first_offer']}; a newcomer: {self._media['late_join']}")
        for party, hears in ((customer, heard), (attendant, back)):
            if not hears:
                self._note(f"the {party.role} does not hear the other one")
        with self._step("replies"):
            self._signalling["replies"] = await _replies(attendant)
        with self._step("the customer's socket"):
            # Broken and made anew: it shows how a customer is announced to those who are there.
            told = attendant.account.log
            began = told.now
            await customer.account.sockets.renew()
            await told.wait(lambda: told.find("came", "participant_joined", since=began), REPLY)

    # ------------------------------------------------------------ the third

    async def _late(self, call: Call, supervisor: OverheardAccount, where: Path) -> None:
        """Let somebody join late who only listens, as a bot that records does."""
        since = supervisor.log.now
        async with taking_part(
            Role.SUPERVISOR, supervisor, call, where / "listener", speaks=False
        ) as listener:
            if not await self._media_of(listener):
                return
            others = (Role.ATTENDANT, Role.CUSTOMER)
            # Within the time in which the session itself would offer otherwise, and be heard.
            heard = await asyncio.gather(
                *(listener.hears(role, HEARD, 0.0, min(self._pace.hear, 5.0)) for role in others)
            )
            self._media["must_send"] = not any(heard)
            carried = findings.carries(findings.first_answer(supervisor.log, since))
            self._media["empty_answer"] = None if carried is None else not carried
            self._media["mixed"] = listener.ears.together(0.0, HEARD) if all(heard) else None
            self._told(f"who only listens hears {sum(heard)} of 2; mixed: {self._media['mixed']}")

    async def _measure(
        self,
        mode: Supervision,
        call: Call,
        account: OverheardAccount,
        others: tuple[Party, Party],
        where: Path,
        *,
        first: bool,
    ) -> None:
        """Measure who hears a supervisor in one mode."""
        asked = account.log.now
        by_join: Mapping[str, object] | None = (
            {"supervise": str(mode)} if self._plan.strategy.by == "join" else None
        )
        async with taking_part(Role.SUPERVISOR, account, call, where / str(mode), join=by_join) as own:
            if not await self._media_of(own):
                return
            if self._media.get("mixed") is None:
                await own.hears(Role.CUSTOMER, HEARD, 0.0, self._pace.hear)
            measuring = Measurement(
                mode, own, *others, self._plan.strategy, self._pace, asked=asked, note=self._note
            )

            async def renew() -> None:
                if first:
                    await account.broker.another()
                await account.sockets.renew()

            found = self._routing[mode] = await measuring.run(renew)
            if self._media.get("mixed") is None:
                self._media["mixed"] = own.ears.together(0.0, HEARD)
        fates = measuring.fates
        if fates.rejoin is not None and "rejoin" not in self._rejoin:
            self._rejoin = {
                "token_change": fates.token_change,
                "rejoin": fates.rejoin,
                "silence": fates.silence,
            }
        self._told(f"{mode}: {_verdict(mode, found)}")

    # ------------------------------------------------------------ the end

    async def _end(
        self, call: Call, attendant: OverheardAccount, accounts: tuple[OverheardAccount, ...]
    ) -> None:
        """Complete the call while two are in it, and see what becomes of their channels."""
        await self._complete(call, attendant)
        log = attendant.log
        if await log.wait(lambda: log.find("came", "call_ended"), LAST):
            self._signalling["closes_on_end"] = await log.wait(lambda: log.find("closed"), LAST)
        self._told("the call was completed")


async def _may_join(call: Call, attendant: OverheardAccount) -> bool:
    """Whether a call that nobody was assigned to can be joined."""
    channel = attendant.channel(call.topic)
    try:
        await channel.join()
    except JoinRefusedError:
        return False
    await channel.leave()
    return True


async def _replies(party: Party) -> bool:
    """Whether the platform answers a push that it documents."""
    try:
        async with asyncio.timeout(REPLY):
            await party.session.push("mute", {"type": "video", "muted": True})
    except (TimeoutError, ReplyTimeoutError):
        return False
    return True


def _path(call: Call, what: str) -> str:
    return f"/api/v1/calls/{quote(call.call_id, safe='').replace('.', '%2E')}/{what}"


def _verdict(mode: Supervision, found: Routing) -> str:
    """One line about what was measured."""
    if found.action != "taken":
        return f"the platform did not take it: {found.why}"
    heard = {who for each in (found.before, found.during, found.after) if each for who in leaked(mode, each)}
    said = f"it leaks to the {' and the '.join(sorted(heard))}; " if heard else ""
    routes = "routes as documented" if found.routes_as_documented else "does not route as documented"
    return f"{said}{routes}; the start event named {found.confirmed}"


def _leaves(group: BaseExceptionGroup[VokiError]) -> Iterator[VokiError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
