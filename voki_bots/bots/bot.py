"""`Bot`: a configured identity and its plugins. One engine, three ways in.

A bot is a list of plugins. ``bot.record(**s)`` is ``bot.use("recorder", **s)``; decorators fill one internal
plugin, `Handlers`; a TOML file builds the same list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Self, TypeAlias, TypeVar

from voki_bots.bots.consent import ConsentPolicy
from voki_bots.bots.handlers import Handlers, On, When
from voki_bots.bots.login import Login
from voki_bots.bots.plugin import Handler, Plugin
from voki_bots.bots.registry import Registry, configure
from voki_bots.bots.rule import Rule
from voki_bots.bots.speakers import check_voice
from voki_bots.bots.watch import Watch, Watching
from voki_bots.calls import (
    CallJoined,
    CallLeft,
    DigitPressed,
    ParticipantJoined,
    ParticipantLeft,
    Role,
    UtteranceHeard,
)
from voki_bots.errors import ConfigurationError, PluginLoadError, PluginNotFoundError
from voki_bots.media.digits import KEYS

H = TypeVar("H", bound=Handler)

Wanted: TypeAlias = "str | type[Plugin[Any]] | Plugin[Any]"

_MAX_NAME = 64


class Bot:
    """A bot: its name, the calls it attends, and what it does there.

    Args:
        name: Shown in logs, metrics and files; letters, digits, ``-`` and ``_``.
        join: Which calls it attends.
        speaks: Whether it may speak to everybody in its calls (`Attendance.say`). A bot that may not has no
            sender at all: nothing of it can be heard, whatever a plugin does.
        voice: What says texts (`Attendance.say` of a text), such as ``espeak-ng:pt-br``.
        longest_pause: Seconds after which any pause of its calls ends by itself; None lets a pause last until
            somebody ends it.
        watch: What pauses its calls when it happens.
        login: Attends as this user; None attends as the user who finds the calls.
        consent: What must have happened before anything of its calls is written.

    Raises:
        ConfigurationError: If the name is unusable, the longest pause no positive number, or there is an
            announcement that it may not speak.

    Example::

        bot = Bot("minutes", join=Rule(departments=["support"]))
        bot.record()

        @bot.on_join(role="customer")
        async def greet(call, who):
            await call.hint(f"{who.name} is here", to="attendant")
    """

    def __init__(
        self,
        name: str,
        *,
        join: Rule | None = None,
        speaks: bool = False,
        voice: str = "",
        longest_pause: float | None = None,
        watch: Sequence[Watch] = (),
        login: Login | None = None,
        consent: ConsentPolicy | None = None,
    ) -> None:
        if not (0 < len(name) <= _MAX_NAME and all(c.isalnum() or c in "-_" for c in name)):
            raise ConfigurationError(
                f"a bot's name must be 1 to {_MAX_NAME} letters, digits, '-' or '_'; got {name[:80]!r}",
                path="name",
            )
        self.name = name
        self.rule = join or Rule()
        number = isinstance(longest_pause, int | float) and not isinstance(longest_pause, bool)
        if longest_pause is not None and not (number and 0 < longest_pause < math.inf):
            raise ConfigurationError(
                f"longest_pause: expected seconds, more than 0; got {longest_pause!r}", path="longest_pause"
            )
        self.speaks = speaks
        if voice and (problem := check_voice(voice)):
            raise ConfigurationError(f"voice: {problem}", path="voice")
        self.voice = voice
        self.longest_pause = longest_pause
        self.watch = tuple(watch)
        self.login = login
        self.consent = consent or ConsentPolicy()
        if self.consent.announcement is not None and not speaks:
            raise ConfigurationError(
                f"bot {name!r} cannot play its announcement, because it does not speak; set speaks = true",
                path="consent.announcement",
            )
        self._wanted: list[tuple[Wanted, dict[str, Any]]] = []
        self._on: list[On] = []

    def __repr__(self) -> str:
        names = [_name(plugin) for plugin, _ in self._wanted]
        return f"Bot({self.name!r}, plugins={names}, handlers={len(self._on)})"

    # ------------------------------------------------------------ plugins

    def use(self, plugin: Wanted, **settings: Any) -> Self:
        """Add a plugin: the name of its entry point, or its class, with its settings; or one ready made."""
        self._wanted.append((plugin, settings))
        return self

    def record(self, **settings: Any) -> Self:
        """Record every call; the same as ``use("recorder", …)``."""
        return self.use("recorder", **settings)

    def transcribe(self, **settings: Any) -> Self:
        """Transcribe every call; the same as ``use("transcriber", …)``."""
        return self.use("transcriber", **settings)

    def plugins(self, registry: Registry, *, path: str = "") -> list[Plugin[Any]]:
        """Make this bot's plugins.

        Args:
            registry: Where names are looked up.
            path: Prefix of the paths in error messages.

        Raises:
            ConfigurationError: With every problem of every plugin, one a line.
        """
        made: list[Plugin[Any]] = []
        found: list[str] = []
        for plugin, settings in self._wanted:
            try:
                made.append(self._make(plugin, settings, registry, path))
            except (PluginNotFoundError, PluginLoadError) as error:
                found.append(f"{path or self.name}.plugins: {error}")
            except ConfigurationError as error:
                found.append(str(error))
        taken: set[str] = set()
        for one in made:
            if one.name in taken:
                found.append(f"{path or self.name}: plugin {one.name!r} is listed twice")
            taken.add(one.name)
        found += self._unmet(taken, path)
        found += self._blind(taken, path)
        if found:
            raise ConfigurationError("\n".join(found), path=path or self.name)
        if self._on:
            made.append(Handlers(self._on))
        if self.watch:
            made.append(Watching(self.watch))
        return made

    def _make(
        self, plugin: Wanted, settings: Mapping[str, Any], registry: Registry, path: str
    ) -> Plugin[Any]:
        if isinstance(plugin, Plugin):
            return plugin
        prefix = f"{path}." if path else ""
        if isinstance(plugin, str):
            return registry.build(plugin, settings, path=f"{prefix}{plugin}")
        name = plugin.__name__.lower()
        return configure(plugin, name, settings, path=f"{prefix}{name}")

    def _unmet(self, names: set[str], path: str) -> list[str]:
        """`on_final` hears utterances, and only a transcriber publishes them."""
        deaf = [on.name for on in self._on if on.event is UtteranceHeard]
        if deaf and "transcriber" not in names:
            return [f"{path or self.name}: {', '.join(deaf)} needs a transcriber among the plugins"]
        return []

    def _blind(self, names: set[str], path: str) -> list[str]:
        """A watch for what can never happen."""
        where = f"{path or self.name}.watch"
        actors = [watch.actor for watch in self.watch if watch.pauses]
        found = [f"{where}.{i}: {problem}" for i, one in enumerate(self.watch) for problem in one.problems()]
        deaf = [i for i, one in enumerate(self.watch) if one.listens and one.on == UtteranceHeard.__name__]
        if deaf and "transcriber" not in names:
            found += [
                f"{where}.{i}: words are heard by a transcriber alone; list one among the plugins"
                for i in deaf
            ]
        twice = sorted({actor for actor in actors if actors.count(actor) > 1})
        return found + [f"{where}: {actor} is there twice; give each a name" for actor in twice]

    # ------------------------------------------------------------ decorators

    def on(self, event: type[Any], **fields: Any) -> Callable[[H], H]:
        """Call a coroutine function for every event of a type, ``async def f(call, event)``.

        Events of departments and users (queues, presence, notifications) belong to no call: for these the
        function is ``async def f(event)``.

        Args:
            event: The class of the event.
            **fields: Only events whose fields equal these.
        """

        def matches(seen: Any) -> bool:
            return all(getattr(seen, name, None) == value for name, value in fields.items())

        return self._add(event, matches, lambda seen: seen)

    def on_start(self) -> Callable[[H], H]:
        """Call ``async def f(call)`` when the bot is in a call."""
        return self._add(CallJoined, lambda _: True, None)

    def on_end(self) -> Callable[[H], H]:
        """Call ``async def f(call, reason)`` when the bot leaves a call."""
        return self._add(CallLeft, lambda _: True, lambda seen: seen.reason)

    def on_join(self, *, role: Role | str | None = None) -> Callable[[H], H]:
        """Call ``async def f(call, who)`` once for each participant, also those already there."""
        return self._add(ParticipantJoined, _of(role), lambda seen: seen.participant)

    def on_leave(self, *, role: Role | str | None = None) -> Callable[[H], H]:
        """Call ``async def f(call, who)`` when a participant leaves."""
        return self._add(ParticipantLeft, _of(role), lambda seen: seen.participant)

    def on_digit(self, digits: str = KEYS, *, role: Role | str | None = None) -> Callable[[H], H]:
        """Call ``async def f(call, pressed)`` when a key of a telephone is released; see `DigitPressed`.

        Args:
            digits: Those that are wanted.
            role: Of whoever presses them; anybody's if None.
        """
        wanted = _role(role)

        def matches(seen: DigitPressed) -> bool:
            return seen.digit in digits and (wanted is None or seen.by.role is wanted)

        return self._add(DigitPressed, matches, lambda seen: seen)

    def on_final(self, *, role: Role | str | None = None, contains: str | None = None) -> Callable[[H], H]:
        """Call ``async def f(call, line)`` for each finished utterance; needs a transcriber."""

        def matches(seen: UtteranceHeard) -> bool:
            said = contains is None or contains.casefold() in seen.text.casefold()
            # One without text only takes back what was shown.
            return seen.final and bool(seen.text) and said and (role is None or seen.role == Role(role))

        return self._add(UtteranceHeard, matches, lambda seen: seen)

    def _add(self, event: type[Any], when: When, given: Callable[[Any], Any] | None) -> Callable[[H], H]:
        def remember(function: H) -> H:
            self._on.append(On(getattr(function, "__name__", "handler"), event, when, given, function))
            return function

        return remember

    # ------------------------------------------------------------ running

    def run(self, config: str | None = None) -> None:
        """Attend calls until SIGTERM or Ctrl-C; the same as ``voki-bots run FILE.py``.

        Args:
            config: A TOML file with the ``[voki]`` table; without it the environment is asked
                (VOKI_URL, VOKI_TENANT, VOKI_EMAIL, VOKI_PASSWORD).
        """
        # The service stands above the bots; only this convenience reaches up, when it is called.
        import_module("voki_bots.cli.running").run_bots([self], config)


def _name(plugin: Wanted) -> str:
    if isinstance(plugin, str):
        return plugin
    return plugin.name if isinstance(plugin, Plugin) else plugin.__name__


def _of(role: Role | str | None) -> When:
    wanted = _role(role)
    return lambda seen: wanted is None or seen.participant.role is wanted


def _role(role: Role | str | None) -> Role | None:
    try:
        return None if role is None else Role(role)
    except ValueError:
        known = ", ".join(Role)
        raise ConfigurationError(f"role must be one of {known}; got {role!r}", path="role") from None


def bots_of(names: Mapping[str, Any]) -> Sequence[Bot]:
    """Every bot among the names of a module."""
    return [value for value in names.values() if isinstance(value, Bot)]
