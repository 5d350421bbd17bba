"""The contract with plugin authors.

A plugin is one class with typed settings and one ``async with`` per call::

    class LevelMeter(Plugin[LevelMeterSettings]):
        \"\"\"Log how loud everybody is.\"\"\"

        @asynccontextmanager
        async def attend(self, call: Attendance) -> AsyncIterator[None]:
            with call.listen(self.measure, rate=16_000):
                yield

It is found by an entry point of the group ``voki_bots.plugins`` and configured by the table of its name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict

from voki_bots.bots.gate import GateState, Refusal
from voki_bots.bots.login import Login
from voki_bots.calls import (
    Attribution,
    Call,
    CallEvent,
    Participant,
    PluginEvent,
    Role,
    ServiceEvent,
    Supervision,
    Track,
)
from voki_bots.media.frames import AudioFrame, Filter, Packet, Sink

if TYPE_CHECKING:
    from voki_bots.media.live import Live
    from voki_bots.media.prompts import Prompt

ENTRY_POINTS = "voki_bots.plugins"
"""The entry-point group in which plugins are found."""


class PluginSettings(BaseModel):
    """Base of a plugin's settings: a mistyped name is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=BaseModel)

Of: TypeAlias = "str | Role | Collection[str | Role]"
"""Whose tracks are meant: ``"all"`` (everyone but the bot itself), ``"bot"``, a role, a participant's id,
or a collection of these."""

PacketSink: TypeAlias = "Sink[Packet] | Callable[[Packet], None]"
FrameSink: TypeAlias = "Sink[AudioFrame] | Callable[[AudioFrame], None]"


class Log(Protocol):
    """A structured logger that already names bot, tenant, call and plugin."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log a detail."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log a fact."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log something unexpected."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log a failure."""


class Metrics(Protocol):
    """Counters and gauges of one plugin; their names get its prefix, bot and tenant become labels."""

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter."""

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""


class Listening(Protocol):
    """A subscription to packets or frames; close it (or leave its ``with``) to end it."""

    @property
    def dropped(self) -> int:
        """Items that were lost because the sink did not keep up."""

    async def drain(self) -> None:
        """Wait until everything that came so far has been written and flushed."""

    def close(self) -> None:
        """Take no more; what was handed over is still written, then the sink is closed."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Supervising(Protocol):
    """Somebody who supervises a call, from a session of his own; see `voki_bots.Supervisor`."""

    @property
    def user_id(self) -> str:
        """Who he is at the platform."""

    @property
    def mode(self) -> Supervision | None:
        """The mode that is taken; None while none is."""

    @property
    def state(self) -> GateState:
        """Where the gate is: ``listening``, ``arming``, ``open`` or ``closed``."""

    @property
    def refusal(self) -> Refusal | None:
        """Why nothing can be said now; None while it can."""

    async def monitor(self) -> object:
        """Listen, and let the platform tell so; nothing of us can be heard.

        Raises:
            SupervisionError: If the platform refuses.
        """

    async def speak(self, mode: Supervision, prompt: Prompt | Live) -> float:
        """Say something in a mode; give the seconds that were played.

        Raises:
            SupervisionError: If it cannot be armed, or the gate closes while it is said.
        """


class Attendance(Protocol):
    """What a plugin may see and do in one call. Nothing else is meant for it."""

    @property
    def call(self) -> Call:
        """The call, with everything the platform has told of it so far."""

    @property
    def bot(self) -> str:
        """The name of the bot that attends."""

    @property
    def user_id(self) -> str:
        """The user of the platform as whom it attends."""

    @property
    def now(self) -> float:
        """Seconds of call time; 0 is the moment the bot joined."""

    @property
    def participants(self) -> Sequence[Participant]:
        """Who is known in the call, the bot itself left out."""

    def who(self, track: Track) -> Attribution:
        """Say who is on a track, as far as it is known now."""

    def events(self) -> AsyncIterator[CallEvent | PluginEvent]:
        """Iterate over what happens from now on; it ends with the call.

        Participants that are already there are not repeated: read `participants` first.
        """

    def packets(self, sink: PacketSink, *, of: Of = "all", kind: str = "audio") -> Listening:
        """Send encoded packets to a sink, in order of their sequence, as they came.

        Args:
            sink: A `Sink`, or a function that takes one `Packet`. It runs in the plugin's own thread.
            of: Whose tracks; may grow as tracks are attributed.
            kind: ``audio``, ``video`` or ``all``.
        """

    def listen(
        self,
        sink: FrameSink,
        *,
        of: Of = "all",
        rate: int = 16_000,
        filters: Callable[[], Sequence[Filter]] | None = None,
    ) -> Listening:
        """Send decoded audio to a sink: mono int16, about 100 ms at a time, losses concealed.

        Args:
            sink: A `Sink`, or a function that takes one `AudioFrame`. It runs in the plugin's own thread.
            of: Whose tracks.
            rate: 8000, 12000, 16000, 24000 or 48000 samples per second.
            filters: Makes the chain of filters of one track; it is called once for each track.
        """

    async def say(self, text_or_prompt: object, *, to: str = "all") -> float:
        """Speak into the call; waits until it can be heard, and resolves when the last sample was sent.

        Prompts that overlap are mixed. Cancelled, it fades out at once.

        Args:
            text_or_prompt: A `Prompt`, the path of an audio file, mono int16 samples at 48 kHz, or a text, if
                the bot has a voice.
            to: ``all``; whispering is for supervisors.

        Returns:
            Seconds that were played.

        Raises:
            SupervisionError: If this bot may not speak here and now (`why` says it as a value), or may no
                longer while it speaks; the gate is closed by default.
            MediaError: If it is nothing that can be spoken.
        """

    def supervise(
        self,
        login: Login,
        strategy: object,
        *,
        proof: tuple[Path, str] | None = None,
        name: str = "supervisor",
    ) -> AbstractAsyncContextManager[Supervising]:
        """Let somebody supervise the call from a session of his own, until the ``async with`` ends.

        The bot's own session is not touched. Its pauses silence him, and what he whispers has a track of its
        own in its recording.

        Args:
            login: His own account.
            strategy: How the platform is asked: a `SupervisionStrategy`.
            proof: A capability profile, and the public key of who signed it or a file that holds it; what it
                proves of this tenant needs no word of the platform.
            name: How he is called in journals and on his track.

        Raises:
            SupervisionError: If this session cannot sign anybody in.
            ConfigurationError: On entering, if a file of the account cannot be read, or the profile proves
                nothing about this platform.
            AuthenticationError: On entering, if the platform refuses the account.
        """

    async def hint(self, text: str, *, to: Role | str = Role.ATTENDANT) -> None:
        """Show a text to somebody, outside the call: it never enters the call's channel."""

    def publish(self, event: PluginEvent) -> None:
        """Tell the other plugins of this call; it also enters the journal."""

    def pause(
        self, *, actor: str | None = None, reason: str = "", seconds: float | None = None
    ) -> float | None:
        """Stop every file, transcript and listener of the call at once; the span becomes a `masked` gap.

        Each actor has one pause; pausing again renews it. It outlives reconnects, and crashes of the process.

        Args:
            actor: Who pauses; by default the plugin.
            reason: Why; it is journalled.
            seconds: After how many it ends by itself; `longest_pause` of the bot goes before it.

        Returns:
            Seconds of call time at which it ends by itself, or None.

        Raises:
            ConfigurationError: If `seconds` is no positive number.
        """

    def consent(self, *, by: str, how: str, given: bool = True) -> None:
        """Take note that somebody agreed to be recorded, or does not; see the bot's policy of consent.

        Args:
            by: A participant's id, for that one alone; anything else speaks for everybody who is there.
            how: How we know, for the journal: ``pressed 1``, ``said yes``.
            given: False if they refused: nothing is written any more, unless they agree later.
        """

    def resume(self, *, actor: str | None = None, everyone: bool = False) -> None:
        """End the pause of `actor` (by default the plugin), or of `everyone`.

        Media flow again once nobody has a pause.
        """

    @property
    def directory(self) -> Path:
        """The folder of this call; everything a plugin keeps goes under it."""

    def journal(self, event: str, **facts: Any) -> None:
        """Append a line to the call's hash-chained journal."""

    def start_soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the call; it is cancelled when the call ends."""

    @property
    def log(self) -> Log:
        """The plugin's logger."""

    @property
    def metrics(self) -> Metrics:
        """The plugin's metrics."""


class Plugin(Generic[S]):
    """One thing bots can do in calls.

    Subclass it with the settings model as type argument. The instance lives as long as the service; it is
    entered once (load a model, open a pool) and attends any number of calls at once. Its docstring's first
    line is what ``voki-bots plugins`` shows.
    """

    Settings: ClassVar[type[BaseModel]] = PluginSettings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if isinstance(origin, type) and issubclass(origin, Plugin) and arguments:
                (model,) = arguments
                if isinstance(model, type) and issubclass(model, BaseModel):
                    cls.Settings = model

    def __init__(self, settings: S, *, name: str = "") -> None:
        self.settings = settings
        self.name = name or type(self).__name__.lower()

    async def __aenter__(self) -> Self:
        """Set up what all calls share; called once, before the first call."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Release what all calls shared; called once, after the last call."""

    def attend(self, call: Attendance) -> AbstractAsyncContextManager[None]:
        """Take part in one call: before ``yield`` set up, after it finish."""
        return _nothing()

    async def conclude(self, call: Attendance) -> None:
        """Say the last of a call: no more media will come, but everybody still hears what is published.

        Called once for each call that ends, before `CallLeft` is told and what `attend` does after ``yield``.
        It may take 25 s; after that the call ends without it.
        """

    def check(self) -> Sequence[str]:
        """Say what would keep this plugin from working, one sentence each, before anything connects."""
        return ()

    def video(self) -> bool:
        """Whether it takes pictures. Where no plugin of a bot does, the bot takes no video lines at all."""
        return False

    def archive(self) -> Path | None:
        """Where this plugin wants calls to be kept, or None if it does not care.

        The path may end in a template of names such as ``{tenant}/{date}/{call}``; a template alone is below
        the directory that the service was configured with.
        """
        return None

    async def recover(self, archive: Path) -> None:
        """See to what an earlier run left in the archive, and go on looking after it.

        Called once by the service when it is up, beside everything else, and cancelled when it stops. It may
        run for as long as it likes, and must leave alone what is being written.

        Args:
            archive: The directory below which calls are kept.
        """

    async def observe(self, event: ServiceEvent) -> None:
        """Hear of queues, presence and notifications; these belong to no call."""


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


Handler: TypeAlias = Callable[..., Awaitable[None]]
