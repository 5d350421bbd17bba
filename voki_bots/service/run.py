"""The long-running service: sign in, hear of calls, attend them, stop cleanly."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from voki_bots.archive.disk import problem_with_directory
from voki_bots.archive.layout import split_template
from voki_bots.bots.account import Account
from voki_bots.bots.accounts import Accounts
from voki_bots.bots.bot import Bot
from voki_bots.bots.crew import Crew, archive_for, check, entered
from voki_bots.bots.desk import Desk
from voki_bots.bots.plugin import Plugin
from voki_bots.bots.session import CallSession
from voki_bots.bots.watch import known_events
from voki_bots.calls import Call, CallAssigned, CustomerQueued, NotificationReceived, ServiceEvent
from voki_bots.errors import ConfigurationError, VokiError
from voki_bots.service import console
from voki_bots.service.api import serve_api
from voki_bots.service.control import Control
from voki_bots.service.delivery import Delivery
from voki_bots.service.dispatch import Dispatch
from voki_bots.service.entrance import entrance
from voki_bots.service.floor import Floor
from voki_bots.service.outbox import Outbox, Receiver, opened
from voki_bots.service.recordings import Recordings
from voki_bots.service.space import LOOK, Space
from voki_bots.service.supervision import Desks
from voki_bots.service.telemetry import Telemetry
from voki_bots.service.topics import Topics
from voki_bots.service.webhooks import Webhooks
from voki_bots.settings import Settings, credentials_of, delivery_secret, webhook_secret
from voki_bots.signalling.posting import Poster

_log = structlog.get_logger(__name__)

OUTBOX = ".webhooks.sqlite"
"""The file in the archive's folder that keeps the webhooks which are to be sent."""

OBSERVE = 5.0
"""Seconds that a plugin may take over one event of a department or user."""

JITTER = (0.9, 1.1)
"""Spreads polling, so that a fleet does not ask in step."""

HINT_PAUSE = 1.0
"""Seconds between two looks at the list that were hinted at; more hints than that come to one look."""

LAG_CHECK = 0.25
"""Seconds between two measurements of the event loop's lag."""


async def serve(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Run the bots until SIGTERM, SIGINT or `stop`.

    Raises:
        ConfigurationError: If a plugin's own check finds a problem; nothing was connected then.
        AuthenticationError: If the platform refuses the account.
        ConnectionLostError: If it cannot be reached at the start; later it is retried for ever.
    """
    check(settings.bots)
    archives = [_archive(settings, *each) for each in settings.bots]
    stop = stop or asyncio.Event()
    telemetry = Telemetry()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        for bot, plugins in settings.bots:
            await stack.enter_async_context(entered(bot, plugins))
        service = Service(settings, telemetry)
        secret = webhook_secret(settings)
        webhooks = Webhooks(secret, hint=service.hint, counted=telemetry.webhook) if secret else None
        access = stack.enter_context(entrance(settings))
        outbox = await stack.enter_async_context(_outbox(settings, telemetry))
        clock = asyncio.get_running_loop().time
        service.delivery = delivery = Delivery(access, clock=clock, told=outbox.put)
        found = [
            (bot.name, plugin)
            for bot, plugins in settings.bots
            for plugin in plugins
            if isinstance(plugin, Desk)
        ]
        desks = Desks(found, service.running, access, clock=clock, loopback=settings.service.loopback)
        control = Control(
            service.running,
            access,
            lambda session: {"reason": service.reason(session), **desks.of(session.call.key)},
        )
        service.floor = floor = Floor(settings.voki.tenant, clock, settings.voki.presence)
        roots = [split_template(each)[0] for each in archives]
        shelves = Recordings(roots, access, clock=clock)
        routers = [
            control.routes(),
            desks.routes(),
            delivery.routes(),
            floor.routes(access),
            shelves.routes(),
        ]
        if settings.service.console:
            routers.append(console.routes())
        api = serve_api(settings.service, service, telemetry, webhooks, routers, access=access)
        await stack.enter_async_context(api)
        stack.callback(delivery.stop)
        accounts = await stack.enter_async_context(Accounts())
        account = await accounts.account(credentials_of(settings.voki))
        crews = [
            Crew(bot, plugins, archive, await accounts.account(credentials_of(settings.voki, bot)), accounts)
            for (bot, plugins), archive in zip(settings.bots, archives, strict=True)
        ]
        await service.run(account, crews, stop)


def _archive(settings: Settings, bot: Bot, plugins: Sequence[Plugin[Any]]) -> Path:
    archive = archive_for(bot, plugins, settings.archive.directory)
    if problem := problem_with_directory(split_template(archive)[0]):
        raise ConfigurationError(f"bots.{bot.name}: no call can be kept: {problem}", path=f"bots.{bot.name}")
    return archive


@asynccontextmanager
async def _outbox(settings: Settings, telemetry: Telemetry) -> AsyncIterator[Outbox]:
    """What tells others of calls; where nobody is told it does nothing, and makes no file."""
    receivers = _receivers(settings)
    kept = split_template(settings.archive.directory)[0] / OUTBOX if receivers else Path(":memory:")
    async with Poster() as poster:
        more = {
            "post": poster.post,
            "wall": time.time,
            "counted": telemetry.delivered,
            "rng": random.Random(),  # noqa: S311 - jitter, not a secret
        }
        async with opened(kept, receivers, **more) as outbox:
            yield outbox


def _receivers(settings: Settings) -> list[Receiver]:
    known = {each.__name__ for each in known_events()}
    made = []
    for number, each in enumerate(settings.service.deliver):
        if unknown := sorted(set(each.events) - known):
            path = f"service.deliver.{number}.events"
            raise ConfigurationError(
                f"{path}: there is no event {unknown[0]!r}; there are {', '.join(sorted(known))}", path=path
            )
        made.append(Receiver(each.url, frozenset(each.events), delivery_secret(settings, number)))
    return made


class Service:
    """What the service is doing; the API asks it."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.settings = settings
        self._telemetry = telemetry
        self._account: Account | None = None
        self._crews: Sequence[Crew] = ()
        self.dispatch: Dispatch | None = None
        self.beat = 0.0
        self.delivery: Delivery | None = None
        self.floor: Floor | None = None
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._look = asyncio.Event()

    @property
    def unready(self) -> str | None:
        """Why no calls can be attended now, or None."""
        if self.dispatch is None or self._account is None:
            return "not signed in yet"
        if self.dispatch.draining:
            return "stopping"
        return None if self._account.sockets.open else "the websocket is down; reconnecting"

    def running(self) -> Sequence[CallSession]:
        """The calls that are attended now, one entry for each bot in each."""
        rows = self.dispatch.rows if self.dispatch else ()
        return [row.session for row in rows if row.session is not None]

    def reason(self, session: CallSession) -> str:
        """Why a session attends its call."""
        rows = self.dispatch.rows if self.dispatch else ()
        return next((row.decision.reason for row in rows if row.session is session), "")

    async def run(self, account: Account, crews: Sequence[Crew], stop: asyncio.Event) -> None:
        """Attend calls until `stop`, or until the account is refused for good."""
        loop = asyncio.get_running_loop()
        self._account, self._crews = account, crews
        async with asyncio.TaskGroup() as group:
            space = Space(
                [crew.archive for crew in crews],
                alert=self.settings.service.disk_alert,
                refuse=self.settings.service.disk_full,
                telemetry=self._telemetry,
            )
            space.look()
            self.dispatch = Dispatch(
                crews,
                group=group,
                telemetry=self._telemetry,
                limit=self.settings.service.max_calls,
                clock=loop.time,
                full=space.refusal,
                **({} if self.delivery is None else {"followed": self.delivery.follow}),
            )
            topics = Topics(
                account, group, told=self._told, missed=self._look.set, presence=self.settings.voki.presence
            )
            background = [
                group.create_task(self._poll(topics), name="poll"),
                group.create_task(self._measure(), name="lag"),
                group.create_task(_watch(space), name="disks"),
                *(
                    group.create_task(self._recover(crew, plugin), name=f"recover {plugin.name}")
                    for crew in crews
                    for plugin in crew.plugins
                ),
            ]
            accounts = {account, *(crew.account for crew in crews)}
            failing = {group.create_task(each.failed()) for each in accounts}
            stopped = group.create_task(stop.wait())
            _log.info("ready", bots=[crew.bot.name for crew in crews], tenant=account.tenant)
            await asyncio.wait({*failing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            _log.info("stopping", calls=self.dispatch.attending)
            for task in (*background, stopped):
                task.cancel()
            await self.dispatch.drain(self.settings.service.drain, "the service stops")
            await topics.close()
            for failed in failing:
                if failed.done():
                    raise failed.result()
                failed.cancel()

    # ------------------------------------------------------------ hearing of calls

    async def _poll(self, topics: Topics) -> None:
        assert self._account and self.dispatch
        await topics.follow_user(self._account.user_id)
        for department in {name for crew in self._crews for name in crew.bot.rule.departments}:
            await topics.follow_queue(department)
        while True:
            self._look.clear()
            try:
                calls = await self._account.calls()
            except VokiError as error:
                _log.warning("poll_failed", why=str(error))
            else:
                for call in calls:
                    if call.department_id and any(crew.bot.rule.wants(call) for crew in self._crews):
                        await topics.follow_queue(call.department_id)
                    self.dispatch.offer(call, "list")
            looked = asyncio.get_running_loop().time()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.service.poll * self._rng.uniform(*JITTER)):
                    await self._look.wait()
                    await asyncio.sleep(looked + HINT_PAUSE - asyncio.get_running_loop().time())

    def hint(self, call_id: str | None) -> None:
        """Something may have happened to a call: the list of calls is looked at before its time."""
        _log.debug("hinted", call=call_id)
        self._look.set()

    async def _told(self, event: ServiceEvent) -> None:
        """An event of a department or of our user."""
        assert self._account and self.dispatch
        self._telemetry.events.labels(type(event).__name__).inc()
        if self.floor is not None:
            self.floor.take(event)
        match event:
            case CallAssigned(call_id=call_id) | CustomerQueued(call_id=call_id):
                await self._look_up(call_id, event)
            case NotificationReceived(call_id=str(call_id), kind="call_assigned"):
                await self._look_up(call_id, event)
        for crew in self._crews:
            for plugin in crew.plugins:
                await self._observe(crew, plugin, event)

    async def _look_up(self, call_id: str, event: ServiceEvent) -> None:
        """Events say little of a call; the details decide. If they cannot be had, the event must do."""
        assert self._account and self.dispatch
        heard = Call(self._account.tenant, call_id, department_id=getattr(event, "department_id", "") or None)
        if isinstance(event, CallAssigned):
            heard = heard.merged(
                Call(
                    heard.tenant,
                    call_id,
                    attendant_id=event.user_id or None,
                    attendant_name=event.user_name or None,
                )
            )
        try:
            heard = heard.merged(await self._account.call(call_id))
        except VokiError as error:
            _log.warning("call_details_unknown", call=call_id, why=str(error))
        self.dispatch.offer(heard, type(event).__name__)

    async def _observe(self, crew: Crew, plugin: Plugin[Any], event: ServiceEvent) -> None:
        with self._survived("observe", crew, plugin):
            async with asyncio.timeout(OBSERVE):
                await plugin.observe(event)

    async def _recover(self, crew: Crew, plugin: Plugin[Any]) -> None:
        with self._survived("recover", crew, plugin):
            await plugin.recover(split_template(crew.archive)[0])

    @contextmanager
    def _survived(self, doing: str, crew: Crew, plugin: Plugin[Any]) -> Iterator[None]:
        """Count and log whatever a plugin raises, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - around a plugin anything may be raised (design 14)
            self._telemetry.of(crew.bot.name, crew.account.tenant, plugin.name).count(f"{doing}_failures")
            why = f"{type(error).__name__}: {error}"
            _log.error(f"{doing}_failed", bot=crew.bot.name, plugin=plugin.name, why=why)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_CHECK
            await asyncio.sleep(LAG_CHECK)
            self.beat = loop.time()
            self._telemetry.lag.set(max(0.0, self.beat - due))
            self._telemetry.socket.set(1.0 if self._account and self._account.sockets.open else 0.0)


async def _watch(space: Space) -> None:
    while True:
        await asyncio.sleep(LOOK)
        space.look()


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set an event for as long as the ``with`` lasts."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # outside the main thread
            loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)
