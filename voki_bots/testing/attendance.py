"""A call without a network: what a plugin's test attends.

::

    async def test_a_voice_gets_a_file_of_its_own(tmp_path):
        async with FakeAttendance(tmp_path) as call, Recorder(RecorderSettings()).attend(call):
            ana = call.join("Ana", role="customer")
            await call.speak(ana, tone(440, 2.0))
        assert_tone(440, tmp_path / "tracks/customer-1.0.opus", at=1.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from voki_bots.bots.bus import Bus
from voki_bots.bots.login import Login
from voki_bots.bots.pauses import Pause, Pauses
from voki_bots.bots.plugin import FrameSink, Of, PacketSink
from voki_bots.calls import (
    Attribution,
    Call,
    CallEvent,
    ConsentGiven,
    ConsentRefused,
    DigitPressed,
    GapCause,
    GapFound,
    HintGiven,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    PluginEvent,
    RecordingPaused,
    RecordingResumed,
    Role,
    Track,
    TrackAttributed,
    TrackStarted,
)
from voki_bots.errors import ConfigurationError, SupervisionError
from voki_bots.media.frames import AudioFrame, Filter, Packet
from voki_bots.testing.listening import FakeListening, Frames, Sorting
from voki_bots.testing.signals import Samples, packets
from voki_bots.testing.supervising import FakeSupervising
from voki_bots.units import to_seconds

PATIENCE = 5.0
"""Seconds that `until` waits."""

GRACE = 0.1
"""Seconds in which a plugin's tasks may take in what happened last, before they are cancelled."""


@dataclass
class FakeLog:
    """Keeps what is logged: (level, event, fields)."""

    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        """Keep a detail."""
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        """Keep a fact."""
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Keep something unexpected."""
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        """Keep a failure."""
        self.lines.append(("error", event, fields))


@dataclass
class FakeMetrics:
    """Keeps sums of counters and last values of gauges."""

    counts: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self.counts[name] = self.counts.get(name, 0.0) + amount

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        self.gauges[name] = value


class FakeAttendance:
    """Implements `voki_bots.Attendance`; the test plays everybody else.

    Call time stands still until `speak`, `feed` or `advance` moves it. Sinks run in a thread, as they do in
    a real call. What a sink or a task of the plugin raises is in `failures`, and is raised on leaving the
    ``async with`` unless `forgiving`.

    Args:
        directory: The call's folder; needed only by plugins that write.
        call: The call.
        bot: The bot's name.
        may_speak: Whether `say` is permitted; by default the gate is closed, as in a real call.
        forgiving: Whether the test looks at `failures` itself.

    Attributes:
        journalled: Lines of the journal, each ``{"type": ..., **facts}``.
        published: Events of plugins.
        hints: Texts shown to somebody.
        said: What was said, with to whom.
        supervisors: Whoever was let supervise.
        failures: What sinks and tasks raised.
        log: Keeps what is logged, in `lines`.
        metrics: Keeps `counts` and `gauges`.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        call: Call = Call("acme", "call-1"),  # noqa: B008 - a frozen value
        bot: str = "bot",
        may_speak: bool = False,
        forgiving: bool = False,
    ) -> None:
        self.journalled: list[dict[str, Any]] = []
        self.supervisors: list[FakeSupervising] = []
        self.published: list[PluginEvent] = []
        self.hints: list[HintGiven] = []
        self.said: list[tuple[object, str]] = []
        self.failures: list[BaseException] = []
        self.log = FakeLog()
        self.metrics = FakeMetrics()
        self._directory = directory
        self._call = call
        self._bot = bot
        self._may_speak = may_speak
        self._forgiving = forgiving
        self._now = 0.0
        self._pauses = Pauses()
        self._refused: set[str] = set()
        self._people: dict[str, Participant] = {}
        self._tracks: dict[Track, Attribution] = {}
        self._bus = Bus()
        self._listenings: list[FakeListening] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sinks")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._bus.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE if kind is None else 0.0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listening in self._listenings:
            listening.close()
        await self._settle()
        self._thread.shutdown()
        if kind is None and self.failures and not self._forgiving:
            raise self.failures[0]

    # ---------------------------------------------------------------- what a test does

    def join(
        self, name: str, *, role: Role | str = Role.CUSTOMER, id: str | None = None, present: bool = True
    ) -> Participant:
        """Let somebody enter the call."""
        known = f"user-{len(self._people) + 1}" if id is None else id
        participant = Participant(known, name, Role(role), present)
        self._people[participant.id] = participant
        self.emit(ParticipantJoined(participant))
        return participant

    def leave(self, participant: Participant) -> None:
        """Let somebody leave the call."""
        del self._people[participant.id]
        self.emit(ParticipantLeft(participant))

    def track(
        self, participant: Participant | None = None, *, segment: int = 0, kind: str = "audio"
    ) -> Track:
        """Begin a new track; without a participant nobody knows whose it is."""
        number = len(self._tracks) + 1
        track = Track(segment, str(number), 1000 + number, kind)
        self._tracks[track] = Attribution()
        self.emit(TrackStarted(track, self._now))
        if participant is not None:
            self.attribute(track, participant)
        return track

    def attribute(self, track: Track, participant: Participant | None, *, confidence: float = 1.0) -> None:
        """Let it become known, or change, who is on a track."""
        why = "unknown" if participant is None else "msid"
        said = Attribution(participant, 0.0 if participant is None else confidence, why)
        self._tracks[track] = said
        self.emit(TrackAttributed(track, said))

    async def speak(self, who: Participant | Track, samples: Samples) -> Track:
        """Let somebody say something, from now on; call time moves on by as long as it lasts.

        Args:
            who: A participant, who gets a track if they have none, or a track.
            samples: Mono int16 at 48 kHz, shape (n,).
        """
        track = who if isinstance(who, Track) else self._track_of(who)
        await self.feed(packets(samples, track, start=self._now))
        return track

    def press(self, who: Participant | Track, digits: str, *, seconds: float = 0.1) -> None:
        """Let somebody press keys of their telephone, each so long; in a pause nobody is told."""
        track = who if isinstance(who, Track) else self._track_of(who)
        for digit in digits:
            at, self._now = self._now, self._now + seconds
            if not self._pauses.standing:
                self.emit(DigitPressed(track, digit, at, seconds, self.who(track)))

    async def feed(self, items: Sequence[Packet]) -> None:
        """Deliver packets to all who subscribed, decode them for those who listen, and move call time.

        It returns when every sink has taken them.
        """
        self._now = max([self._now, *(each.start + to_seconds(each.duration) for each in items)])
        if not (self._pauses.standing or self._refused):
            for listening in self._listenings:
                listening.offer(items)
        await self._settle()

    async def feed_frames(self, items: Sequence[AudioFrame]) -> None:
        """Deliver frames to all who listen, as they are, and move call time."""
        self._now = max([self._now, *(each.end for each in items)])
        if not (self._pauses.standing or self._refused):
            for listening in self._listenings:
                listening.offer_frames(items)
        await self._settle()

    def emit(self, event: CallEvent | PluginEvent) -> None:
        """Let something happen that plugins hear of in `events`."""
        self._bus.publish(event)

    def gap(self, track: Track, start: float, end: float, cause: GapCause = GapCause.LOST) -> None:
        """Let a gap be found."""
        self.emit(GapFound(track, start, end, cause))

    def advance(self, seconds: float) -> None:
        """Move call time; a pause whose time is over then ends."""
        self._now += seconds
        self._resumed("timer", self._pauses.expired(self._now))

    async def until(self, condition: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Wait until something is true; TimeoutError if it does not come true."""
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - the condition is anything the test can see
                await asyncio.sleep(0.001)

    # ---------------------------------------------------------------- what a plugin sees

    @property
    def call(self) -> Call:
        """See `voki_bots.Attendance`."""
        return self._call

    @property
    def bot(self) -> str:
        """See `voki_bots.Attendance`."""
        return self._bot

    @property
    def user_id(self) -> str:
        """See `voki_bots.Attendance`; made from the bot's name."""
        return f"user-of-{self._bot}"

    @property
    def now(self) -> float:
        """See `voki_bots.Attendance`."""
        return self._now

    @property
    def participants(self) -> Sequence[Participant]:
        """See `voki_bots.Attendance`."""
        return list(self._people.values())

    def who(self, track: Track) -> Attribution:
        """See `voki_bots.Attendance`."""
        return self._tracks.get(track, Attribution())

    def events(self) -> AsyncIterator[CallEvent | PluginEvent]:
        """See `voki_bots.Attendance`."""
        return self._bus.events("plugin")

    def packets(self, sink: PacketSink, *, of: Of = "all", kind: str = "audio") -> FakeListening:
        """See `voki_bots.Attendance`."""
        return self._listen(FakeListening(sink, self._sorting(of, kind), self._run))

    def listen(
        self,
        sink: FrameSink,
        *,
        of: Of = "all",
        rate: int = 16_000,
        filters: Callable[[], Sequence[Filter]] | None = None,
    ) -> FakeListening:
        """See `voki_bots.Attendance`."""
        return self._listen(
            FakeListening(sink, self._sorting(of, "audio"), self._run, Frames(rate, filters or (lambda: ())))
        )

    async def say(self, text_or_prompt: object, *, to: str = "all") -> float:
        """See `voki_bots.Attendance`; nothing is played, so nothing lasts."""
        if not self._may_speak:
            raise SupervisionError("cannot speak: the gate is closed", mode="say", why="closed")
        self.said.append((text_or_prompt, to))
        return 0.0

    @asynccontextmanager
    async def supervise(
        self,
        login: Login,
        strategy: object,
        *,
        proof: tuple[Path, str] | None = None,
        name: str = "supervisor",
    ) -> AsyncIterator[FakeSupervising]:
        """See `Attendance.supervise`; who supervises is in `supervisors`, and nothing is played."""
        made = FakeSupervising(f"user-of-{login.email}", name)
        self.supervisors.append(made)
        try:
            yield made
        finally:
            made.left = True

    async def hint(self, text: str, *, to: Role | str = Role.ATTENDANT) -> None:
        """See `voki_bots.Attendance`."""
        self.hints.append(HintGiven(text, Role(to), "plugin"))
        self.emit(self.hints[-1])

    def publish(self, event: PluginEvent) -> None:
        """See `voki_bots.Attendance`."""
        self.published.append(event)
        self.emit(event)

    def pause(
        self, *, actor: str | None = None, reason: str = "", seconds: float | None = None
    ) -> float | None:
        """See `voki_bots.Attendance`."""
        made = self._pauses.pause(actor or "plugin", self._now, reason=reason, seconds=seconds)
        self.emit(RecordingPaused(made.actor, self._now, reason, made.until))
        return made.until

    def consent(self, *, by: str, how: str, given: bool = True) -> None:
        """See `voki_bots.Attendance`; a refusal closes every sink, until the same one agrees."""
        (self._refused.discard if given else self._refused.add)(by)
        self.emit(ConsentGiven(by, how) if given else ConsentRefused(by, how))

    def resume(self, *, actor: str | None = None, everyone: bool = False) -> None:
        """See `voki_bots.Attendance`."""
        self._resumed(actor or "plugin", self._pauses.resume(actor or "plugin", everyone=everyone))

    def _resumed(self, actor: str, ended: Sequence[Pause]) -> None:
        for pause in ended:
            self.emit(RecordingResumed(actor, self._now, pause.actor, self._pauses.actors))

    @property
    def directory(self) -> Path:
        """See `voki_bots.Attendance`."""
        if self._directory is None:
            raise ConfigurationError("this plugin writes: give FakeAttendance a directory")
        return self._directory

    def journal(self, event: str, **facts: Any) -> None:
        """See `voki_bots.Attendance`."""
        self.journalled.append({"type": event, **facts})

    def start_soon(self, work: Coroutine[Any, Any, None]) -> None:
        """See `voki_bots.Attendance`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    # ---------------------------------------------------------------- the rest

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def _track_of(self, participant: Participant) -> Track:
        for track, attribution in self._tracks.items():
            if attribution.participant == participant:
                return track
        return self.track(participant)

    def _sorting(self, of: Of, kind: str) -> Sorting:
        wanted = {str(of)} if isinstance(of, str) else {str(each) for each in of}

        def selects(track: Track) -> bool:
            if kind not in ("all", track.kind) or track.local:
                return track.local and "bot" in wanted
            said = self.who(track)
            person = said.participant.id if said.participant else ""
            return not wanted.isdisjoint({"all", str(said.role), person})

        return selects

    def _listen(self, listening: FakeListening) -> FakeListening:
        self._listenings.append(listening)
        return listening

    def _run(self, act: Callable[[], object]) -> None:
        """Run something in the sinks' thread, after everything before it."""

        def guarded() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - around a plugin anything may be raised (design 14)
                self.failures.append(error)

        self._thread.submit(guarded)

    async def _settle(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)
