"""`CallSession`: one bot in one call.

It joins the call's channel, keeps a Peer connected (see `voki_bots.bots.dial`), lets media through the
pipeline to the plugins (see `voki_bots.bots.seat`), and keeps the call's journal. Everything it starts lives
in one task group: when its ``async with`` ends, nothing of it is left.

Signalling, media and files are kept apart on purpose: a lost socket touches neither media nor files, and a
lost Peer becomes the next segment of the same recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeAlias, assert_never

import structlog

from voki_bots.archive.folder import CallFolder
from voki_bots.bots.account import Account, Credentials
from voki_bots.bots.bus import Bus
from voki_bots.bots.consent import Consent, ConsentPolicy
from voki_bots.bots.gate import Closing, Gate, Refusal
from voki_bots.bots.leg import Leg
from voki_bots.bots.login import Login
from voki_bots.bots.pauses import Pause
from voki_bots.bots.plugin import Metrics, Plugin, Supervising
from voki_bots.bots.privacy import Privacy
from voki_bots.bots.roster import Roster
from voki_bots.bots.rule import Rule
from voki_bots.bots.seat import EXIT, Seat
from voki_bots.bots.stall import guard_of
from voki_bots.calls import (
    AnswerReceived,
    Call,
    CallEnded,
    CallEvent,
    CallJoined,
    CallLeft,
    CandidateReceived,
    OfferReceived,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    PluginEvent,
    Role,
    SignallingLost,
    SignallingRestored,
    SupervisionStarted,
    SupervisionStopped,
    Track,
    TrackEnded,
    TrackMeasured,
    UtteranceHeard,
)
from voki_bots.errors import (
    ConnectionLostError,
    FileWriteError,
    JoinRefusedError,
    MediaError,
    SignallingError,
    SupervisionError,
    VokiError,
)
from voki_bots.media.live import Live
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.prompts import Prompt
from voki_bots.media.rtp import Received
from voki_bots.signalling import payloads
from voki_bots.signalling.membership import Closed, Errored, Joined, Reply
from voki_bots.signalling.membership import Received as Arrived
from voki_bots.signalling.socket import Channel
from voki_bots.units import SILENCE_DBFS

Supervise: TypeAlias = Callable[..., AbstractAsyncContextManager[Supervising]]

READY = 1.0
"""Seconds that joining waits for plugins to be set up; a slower one joins when it is ready."""

TICK = 0.1
"""Seconds between two looks at late packets, silence and the reasons to leave."""

LEARN = 1.0
"""Seconds that the platform may take to give the call's details before media are begun without them."""

POLL = 15.0
"""Seconds between two questions to the platform whether the call still runs."""

QUIET = 1.0
"""Seconds without any packet after which nobody is heard."""

CLOCKS = 10.0
"""Seconds between two lines that say how a sender's clock runs, by which it is recognised after a crash."""

ANNOUNCE_AGAIN = 3.0
"""Seconds after an announcement that could not be played, until it is tried again."""

LEAVE = 2.0
"""Seconds that the platform may take to acknowledge our leaving."""


class NoMetrics:
    """Metrics that go nowhere, where no service collects them."""

    def count(self, name: str, amount: float = 1.0) -> None:
        """See `voki_bots.bots.plugin.Metrics`."""

    def gauge(self, name: str, value: float) -> None:
        """See `voki_bots.bots.plugin.Metrics`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a session is doing, from evidence, for people and pages."""

    call: Call
    bot: str
    now: float
    segment: int
    connected: bool
    signalling: bool
    participants: tuple[tuple[str, str, bool], ...]
    tracks: tuple[tuple[str, str, float], ...]
    detached: Mapping[str, str]
    paused: bool
    consented: bool = True
    pauses: tuple[Pause, ...] = ()
    plugins: tuple[str, ...] = ()
    quality: tuple[TrackMeasured, ...] = ()


class CallSession:
    """One bot attending one call; only ever used as ``async with``.

    Args:
        call: The call, as far as it is known.
        account: The signed-in user that attends.
        bot: The bot's name.
        plugins: Its plugins, already entered.
        archive: The folder below which calls are kept.
        rule: When to leave.
        speaks: Whether the bot may speak to everybody; without it, it has no sender.
        voice: Says texts, such as ``espeak-ng:pt-br``.
        longest_pause: Seconds after which any pause ends by itself; None lets it last until it is ended.
        consent: What must have happened before anything is written.
        gate: Decides what may be sent, if it is not meant for everybody.
        sent: Takes every packet that went out.
        supervise: Lets somebody supervise the call from a session of his own.
        join: Parameters of the join of the call's topic.
        metrics: Makes the metrics of a plugin by its name.
        measured: Told how each track comes, and that it ends.
        wall: The time in UTC.

    Raises:
        JoinRefusedError: On entering, if the platform does not let us in.
        ReplyTimeoutError: On entering, if it does not answer.
        FileWriteError: On entering, if the archive's folder cannot be made.
    """

    def __init__(
        self,
        call: Call,
        account: Account,
        *,
        bot: str,
        plugins: Sequence[Plugin[Any]],
        archive: Path,
        rule: Rule | None = None,
        speaks: bool = False,
        voice: str = "",
        longest_pause: float | None = None,
        consent: ConsentPolicy | None = None,
        gate: Gate | None = None,
        sent: Callable[[Received], None] = lambda _: None,
        supervise: Supervise | None = None,
        join: Mapping[str, object] | None = None,
        metrics: Callable[[str], Metrics] = lambda _: NoMetrics(),
        measured: Callable[[TrackMeasured | TrackEnded], None] = lambda _: None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.call = call
        self.bot = bot
        self.rule = rule or Rule()
        self.bus = Bus()
        self.gate = gate or Gate(announces=speaks)
        self._join = join
        self.sent = sent
        self._supervise = supervise
        self.speaks = speaks
        self.voice = voice
        self.video = any(plugin.video() for plugin in plugins)
        self.roster = Roster(call, "")
        self._account = account
        self._plugins = plugins
        self.archive = archive
        self._metrics_of = metrics
        self._measured = measured
        self._wall = wall
        self._log = structlog.get_logger(__name__).bind(bot=bot, tenant=call.tenant, call=call.call_id)
        self._over = asyncio.Event()
        self._reason: str | None = None
        self._zero: float | None = None
        self._end: float | None = None
        self._signalling = False
        self._rejoined = asyncio.Event()
        self._rejoined.set()
        self._longest_pause = longest_pause
        self._consent = Consent(consent or ConsentPolicy())
        self._announcing: asyncio.Task[None] | None = None
        self._announce_after = 0.0
        self._undocumented: set[str] = set()
        self._pair_gone: float | None = None
        self._alone_since: float | None = None
        self._disk: str | None = None
        self._here: set[str] = set()
        self._noted: dict[Track, float] = {}
        self._quality: dict[Track, TrackMeasured] = {}

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._channel: Channel = self._account.channel(self.call.topic, self._join)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave_channel)
            response = await self._channel.join()
            self._signalling = True
            self._open_folder()
            stack.callback(self._folder.close)
            await self._learn(response)
            self._leg = Leg(
                self,
                self._account,
                zero=self._zero or 0.0,
                segment=self._folder.first_segment,
                clock=self._loop.time,
            )
            self.publish(CallJoined(self.call, self.user_id))
            left = [Pause(since=self.now, **facts) for facts in self._folder.paused]
            self._folder.remember(self._consent)
            self._consent.came_back()
            self.privacy = Privacy(self, longest=self._longest_pause, paused=left, consent=self._consent)
            for who in self.roster.present:
                self.met(who)
            guard = guard_of(self._loop)
            guard.acquire()
            stack.callback(guard.release)
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            self._seats = [self._seat(plugin) for plugin in self._plugins]
            self._serving = [self._group.create_task(seat.serve()) for seat in self._seats]
            await asyncio.gather(*(seat.ready(READY) for seat in self._seats))
            self._tasks = [
                self._group.create_task(self._leg.dialler.run(), name="media"),
                self._group.create_task(self._hear(), name="signalling"),
                self._group.create_task(self._tick(), name="tick"),
                self._group.create_task(self._poll(), name="poll"),
            ]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.leave("stopped")
        try:
            await self._wind_up()
        finally:
            await self._stack.aclose()

    async def ended(self) -> str:
        """Wait until there is nothing more to attend; returns why."""
        await self._over.wait()
        return self._reason or ""

    def leave(self, reason: str) -> None:
        """Leave the call; the first reason counts. The ``async with`` must still be left."""
        if self._reason is None:
            self._reason = reason
            self._over.set()

    async def _wind_up(self) -> None:
        """Channel first, then the Peer (an SFU must not see a Peer vanish from a live channel)."""
        self.gate.close(Closing.CALL_OVER)
        self._leg.dialler.leaving()
        await self._leave_channel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end = self.now
        self.pipeline.close()
        await asyncio.gather(*(seat.conclude() for seat in self._seats))
        self.publish(CallLeft(self._reason or "stopped"))
        self.bus.close()
        for seat in self._seats:
            seat.finish()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=EXIT + 5.0)
            for task in late:
                task.cancel()
        try:
            await asyncio.to_thread(self._folder.seal)
        except FileWriteError as error:
            self._disk_failed(error)

    async def _leave_channel(self) -> None:
        try:
            async with asyncio.timeout(LEAVE):
                await self._channel.leave()
        except (TimeoutError, SignallingError) as error:
            self._log.debug("leave_unacknowledged", why=str(error))

    def _open_folder(self) -> None:
        joined = self._loop.time()
        self._folder = CallFolder.open(
            self.archive,
            self.call,
            self.bot,
            clock=lambda: self.now,
            wall=self._wall,
        )
        # A folder that a crash left is taken up on its own timeline.
        self._zero = joined - self._folder.elapsed

    async def _learn(self, response: object) -> None:
        """Seed the roster from the call's details (Q26); not knowing them stops nothing."""
        try:
            async with asyncio.timeout(LEARN):
                self.call = self.call.merged(await self._account.call(self.call.call_id))
        except (TimeoutError, VokiError) as error:
            self._log.warning("call_details_unknown", why=str(error) or "no answer in time")
        self.roster = Roster(self.call, self.user_id)
        self._remember_voices()
        # No snapshot is documented; where a reply holds one, it is welcome.
        listed = response.get("participants") if isinstance(response, Mapping) else None
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(said := payloads.call_event("participant_joined", entry), ParticipantJoined):
                self.roster.joined(said.participant, self.now)

    def _remember_voices(self) -> None:
        """Take up from before a crash whose sender's clock is whose."""
        for each in self._folder.heard:
            person = each["person"]
            who = Participant(person.id, person.name, Role.parse(person.role))
            with suppress(ValueError):  # the far end may name its lines as it likes
                track = Track.parse(each["track"])
                self.roster.remember(track, who, each["confidence"], each["timestamp"], each["at"])

    def _seat(self, plugin: Plugin[Any]) -> Seat:
        return Seat(
            self, plugin, log=self._log.bind(plugin=plugin.name), metrics=self._metrics_of(plugin.name)
        )

    # ------------------------------------------------------------ what everybody may ask

    @property
    def connected(self) -> bool:
        """Whether media are up."""
        return self._leg.up

    async def push(self, event: str, payload: Mapping[str, object]) -> Reply:
        """Push what somebody configured to the call's channel, and wait for the reply.

        Raises:
            SignallingError: If there is none.
        """
        return await self._channel.push(event, payload, configured=True)

    @property
    def certificate(self) -> str | None:
        """What key the far end's DTLS certificate has (``rsa``, ``ecdsa``, ``other``); None without media."""
        return self._leg.certificate

    @property
    def user_id(self) -> str:
        """The user of the platform as whom the bot attends."""
        return self._account.user_id

    @property
    def now(self) -> float:
        """Seconds of call time; it stands still once the call was left."""
        if self._end is not None:
            return self._end
        return 0.0 if self._zero is None else self._loop.time() - self._zero

    @property
    def directory(self) -> Path:
        """The call's folder."""
        return self._folder.directory

    @property
    def pipeline(self) -> Pipeline:
        """Where media of this call go."""
        return self._leg.pipeline

    def measured(self, event: TrackMeasured) -> None:
        """Tell everybody how a track came, but not the journal."""
        self._quality[event.track] = event
        self.bus.publish(event)
        self._measured(event)

    def fell_back(self, what: str) -> None:
        """Count a connection that does not get the way in or out that it should have."""
        self._metrics_of("core").count(f"{what}_fallbacks")

    async def rejoin(self) -> None:
        """Leave the topic and join it anew: what is stuck at the SFU's end goes with our membership."""
        self.record("rejoining")
        self._rejoined.clear()
        try:
            await self._leave_channel()
            self._channel = self._account.channel(self.call.topic, self._join)
            await self._channel.join()
        except JoinRefusedError as error:
            self.leave(f"the platform does not let us back in: {error}")
        except SignallingError as error:
            self._log.warning("rejoining_slow", why=str(error))
        finally:
            self._rejoined.set()

    async def say(self, prompt: Prompt | Live) -> float:
        """Speak to everybody; see `Attendance.say`."""
        return await self._leg.say(prompt)

    @property
    def credentials(self) -> Credentials:
        """Where the platform is, and who we are there."""
        return self._account.credentials

    def overheard(self, who: Participant) -> Callable[[Received], None]:
        """Give what takes the packets of somebody who says in this call what we do not receive."""
        return self._leg.overheard(who)

    def supervise(
        self, login: Login, strategy: Any, *, proof: tuple[Path, str] | None, name: str
    ) -> AbstractAsyncContextManager[Supervising]:
        """Supervise this call from a session of its own; see `Attendance.supervise`."""
        if self._supervise is None:
            raise Refusal(Closing.NOT_CONFIGURED).error("supervise")
        return self._supervise(self, login, strategy, proof=proof, name=name)

    def send(self, event: str, payload: Mapping[str, object]) -> None:
        """Push to the call's channel; buffered while it is away, for nothing once it is closed."""
        try:
            self._channel.send(event, payload)
        except ConnectionLostError as error:
            self._log.info("not_sent", event_name=event, why=str(error))

    def snapshot(self) -> Snapshot:
        """What the session is doing now."""
        levels = self.pipeline.levels()
        tracks = self.pipeline.tracks
        return Snapshot(
            call=self.call,
            bot=self.bot,
            now=self.now,
            segment=self._leg.dialler.segment,
            connected=self._leg.up,
            signalling=self._signalling,
            participants=tuple((p.name or p.id, str(p.role), p.present) for p in self.roster.participants),
            tracks=tuple((str(t), str(self.roster.who(t).role), levels.get(t, SILENCE_DBFS)) for t in tracks),
            detached={s.plugin.name: s.detached for s in self._seats if s.detached},
            paused=bool(self.privacy.pauses),
            consented=self.privacy.consented,
            pauses=self.privacy.pauses,
            plugins=tuple(seat.plugin.name for seat in self._seats),
            quality=tuple(measured for track, measured in self._quality.items() if track in tracks),
        )

    def record(self, event: object, /, **facts: Any) -> None:
        """Append to the journal; a full disk stops only the journal, and is told once."""
        try:
            self._folder.record(event, **facts)
        except FileWriteError as error:
            self._disk_failed(error)

    def _disk_failed(self, error: FileWriteError) -> None:
        if self._disk is None:
            self._disk = str(error)
            self._log.error("journal_failed", why=str(error))
            self._metrics_of("core").count("journal_failures")

    def publish(self, event: CallEvent | PluginEvent) -> None:
        """Record an event and tell everybody."""
        if isinstance(event, UtteranceHeard):
            self._note_utterance(event)
        elif not isinstance(event, OfferReceived | AnswerReceived | CandidateReceived):
            self.record(event)
        if isinstance(event, TrackEnded):
            self._quality.pop(event.track, None)
            self._measured(event)
        self.bus.publish(event)

    def _note_utterance(self, event: UtteranceHeard) -> None:
        """The journal says that somebody spoke; their words are the transcript's, which can be redacted."""
        if event.final:
            facts = {name: getattr(event, name) for name in ("id", "role", "participant_id", "start", "end")}
            self.record("utterance_heard", **facts)

    # ------------------------------------------------------------ signalling

    async def _hear(self) -> None:
        while self._reason is None:
            async for notice in self._channel:
                self._noticed(notice)
            # We have left it ourselves, to join anew, or are leaving for good.
            await self._rejoined.wait()

    def _noticed(self, notice: Joined | Errored | Closed | Arrived) -> None:
        match notice:
            case Joined(again=again):
                self._signalling = True
                if again:
                    self.publish(SignallingRestored())
            case Errored(reason=reason):
                if self._signalling:
                    self._signalling = False
                    self.gate.close(Closing.SIGNALLING)
                    self.publish(SignallingLost(reason))
            case Closed(reason=reason):
                if self._rejoined.is_set():
                    self.leave(f"the platform closed the channel: {reason}")
            case Arrived(event=event, payload=payload):
                self._arrived(event, payload)

    def _arrived(self, event: str, payload: object) -> None:
        said = payloads.call_event(event, payload)
        match said:
            case None:
                if event not in self._undocumented:
                    self._undocumented.add(event)
                    self._log.info("undocumented_event", event_name=event[:80])
            case OfferReceived() | AnswerReceived() | CandidateReceived():
                if not isinstance(said, CandidateReceived):
                    # Now, not when it has been applied: until then it may route anew already.
                    self.gate.close(Closing.RENEGOTIATION)
                self._leg.dialler.signal(said)
                self.bus.publish(said)
            case ParticipantJoined(participant):
                if known := self.roster.joined(participant, self.now):
                    self.met(known)
                self._leg.attributed(self.roster.attribute())
            case ParticipantLeft(participant):
                if known := self.roster.left(participant.id, self.now):
                    self._here.discard(known.id)
                    self.publish(ParticipantLeft(known))
            case CallEnded(reason):
                self.publish(said)
                self.leave(f"the call ended: {reason}")
            case SupervisionStarted(mode=mode, supervisor_id=supervisor_id):
                self.gate.supervised(mode, supervisor_id)
                self.publish(said)
            case SupervisionStopped():
                self.gate.close(Closing.MODE_CHANGED)
                self.publish(said)
            case _:
                assert_never(said)

    def met(self, participant: Participant) -> None:
        """Somebody is present, announced or heard; told once, though the journal learns a late id too."""
        if participant.id in self._here:
            return
        self._here.add(participant.id)
        if participant.role is Role.UNKNOWN:
            self.gate.close(Closing.UNKNOWN_PARTICIPANT)
        if (former := self.roster.former_id(participant.id)) is not None:
            self.privacy.renamed(former, participant.id)
        self.privacy.look()
        if former in self._here:
            self.record(ParticipantJoined(participant))
        else:
            self.publish(ParticipantJoined(participant))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                details = await self._account.call(self.call.call_id)
            except VokiError as error:
                self._log.debug("poll_failed", why=str(error))
                continue
            self.call = self.call.merged(details)
            self.roster.seed(self.call)
            if details.over:
                self.leave(f"the platform says the call is {details.status}")

    # ------------------------------------------------------------ reasons to leave

    async def _tick(self) -> None:
        due = self._loop.time()
        while True:
            self.pipeline.tick()
            self.privacy.tick()
            self._announce()
            self._note_clocks()
            self._consider_leaving()
            due = max(due + TICK, self._loop.time())
            await asyncio.sleep(due - self._loop.time())

    def _note_clocks(self) -> None:
        for track, timestamp, at in self._leg.clocks():
            if at >= self._noted.get(track, -CLOCKS) + CLOCKS:
                self._noted[track] = at
                self.record("track_heard", track=str(track), timestamp=timestamp, at=at)

    def _announce(self) -> None:
        """Say that the call is recorded, as soon as somebody is there who must hear it."""
        busy = self._announcing is not None and not self._announcing.done()
        if busy or not self._leg.up or self.now < self._announce_after or not self.privacy.unannounced:
            return
        self._announcing = self._group.create_task(self._say_so(), name="announcement")
        self._tasks.append(self._announcing)

    async def _say_so(self) -> None:
        try:
            await self.privacy.announce()
        except (SupervisionError, MediaError) as error:
            self._announce_after = self.now + ANNOUNCE_AGAIN
            self._log.warning("not_announced", why=str(error), again_after=ANNOUNCE_AGAIN)

    def _consider_leaving(self) -> None:
        """Rule: after both sides left; else alone and silent; else after the longest attendance."""
        now = self.now
        if now > self.rule.maximum:
            self.leave(f"attended for {self.rule.maximum:g} s, the longest allowed")
        anybody, seen = bool(self.roster.present), self.roster.anybody_was_present
        silent = self.pipeline.silent_for()
        quiet = silent is None or silent > QUIET
        self._pair_gone = None if anybody or not seen else (self._pair_gone or now)
        self._alone_since = None if anybody or not quiet else (self._alone_since or now)
        if self._pair_gone is not None and now - self._pair_gone > self.rule.leave_after_others and quiet:
            self.leave("everybody else has left")
        elif self._alone_since is not None and now - self._alone_since > self.rule.leave_when_alone:
            self.leave("alone and silent")
