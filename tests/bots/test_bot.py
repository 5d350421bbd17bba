"""A bot: one engine, three ways in."""

import pytest

from voki_bots.bots.bot import Bot
from voki_bots.bots.handlers import Handlers
from voki_bots.bots.plugin import Plugin, PluginSettings
from voki_bots.bots.registry import Registry
from voki_bots.calls import QueueUpdated
from voki_bots.errors import ConfigurationError


class Bell(Plugin[PluginSettings]):
    """Ring."""


REGISTRY = Registry({"bell": Bell})


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "a\n"])
def test_bad_names_are_refused(name: str) -> None:
    """A bot's name enters logs, metrics and files, so only harmless characters are allowed."""
    with pytest.raises(ConfigurationError, match="a bot's name must be"):
        Bot(name)


def test_plugins_by_name_class_and_instance() -> None:
    """A plugin may be named, given as a class, or ready made."""

    class Gong(Bell):
        """Boom."""

    class Horn(Bell):
        """Toot."""

    bot = Bot("b").use("bell").use(Gong).use(Horn(PluginSettings()))
    assert [p.name for p in bot.plugins(REGISTRY)] == ["bell", "gong", "horn"]


def test_the_same_plugin_twice_is_a_mistake() -> None:
    """Two plugins of one name could not be told apart in the configuration."""
    with pytest.raises(ConfigurationError, match="'bell' is listed twice"):
        Bot("b").use("bell").use(Bell).plugins(REGISTRY)


def test_decorators_fill_one_plugin() -> None:
    """However many functions are decorated, they become one plugin."""
    bot = Bot("b")

    @bot.on_start()
    async def one(call: object) -> None: ...

    @bot.on(QueueUpdated)
    async def two(event: QueueUpdated) -> None: ...

    assert [type(p) for p in bot.plugins(REGISTRY)] == [Handlers]


def test_hearing_speech_needs_a_transcriber() -> None:
    """A bot that listens for words without a transcriber is told so at start."""
    bot = Bot("b")

    @bot.on_final(contains="cancel")
    async def sorry(call: object, line: object) -> None: ...

    with pytest.raises(ConfigurationError, match="sorry needs a transcriber"):
        bot.plugins(REGISTRY)


def test_an_unknown_role_is_refused() -> None:
    """A mistyped role would silently never match."""
    with pytest.raises(ConfigurationError, match="role must be one of attendant, customer"):
        Bot("b").on_join(role="custommer")


def test_a_plain_function_is_refused() -> None:
    """What is not `async def` cannot be called from the event loop."""
    with pytest.raises(ConfigurationError, match="'loud' must be an 'async def' function"):

        @Bot("b").on_start()
        def loud(call: object) -> None: ...  # type: ignore[arg-type]
