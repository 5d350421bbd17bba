"""A bot made ready for calls: its plugins checked and entered once, its archive chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from voki_bots.archive.layout import archive_of
from voki_bots.bots.account import Account
from voki_bots.bots.accounts import Accounts
from voki_bots.bots.bot import Bot
from voki_bots.bots.plugin import Plugin
from voki_bots.bots.session import CallSession
from voki_bots.bots.supervision import supervising
from voki_bots.calls import Call
from voki_bots.errors import ConfigurationError, PluginError, VokiError


@dataclass(frozen=True, slots=True)
class Crew:
    """A bot ready to attend.

    Attributes:
        bot: Who it is, and which calls it wants.
        plugins: Its plugins, entered.
        archive: The folder, or its template, below which its calls are kept.
        account: The user as whom it attends.
        accounts: Sign in whoever supervises its calls; without it nobody does.
    """

    bot: Bot
    plugins: Sequence[Plugin[Any]]
    archive: Path
    account: Account
    accounts: Accounts | None = None

    def session(self, call: Call, **more: Any) -> CallSession:
        """A session of this bot in a call, to be entered; `more` goes to `CallSession`."""
        return CallSession(
            call,
            self.account,
            bot=self.bot.name,
            plugins=self.plugins,
            archive=self.archive,
            rule=self.bot.rule,
            speaks=self.bot.speaks,
            voice=self.bot.voice,
            longest_pause=self.bot.longest_pause,
            consent=self.bot.consent,
            supervise=partial(supervising, self.accounts) if self.accounts is not None else None,
            **more,
        )


def check(bots: Iterable[tuple[Bot, Sequence[Plugin[Any]]]]) -> None:
    """Ask plugins what would keep them from working.

    Raises:
        ConfigurationError: With every problem, one a line.
    """
    found = []
    for bot, plugins in bots:
        announcement = bot.consent.announcement
        if announcement is not None and not announcement.is_file():
            found.append(f"bots.{bot.name}.consent.announcement: {announcement} is no file")
        for plugin in plugins:
            found += [f"bots.{bot.name}.{plugin.name}: {problem}" for problem in plugin.check()]
    if found:
        raise ConfigurationError("\n".join(found), path="bots")


def archive_for(bot: Bot, plugins: Sequence[Plugin[Any]], otherwise: Path) -> Path:
    """Choose where a bot's calls are kept.

    Raises:
        ConfigurationError: If its plugins do not agree.
    """
    wanted = {path for plugin in plugins if (path := plugin.archive()) is not None}
    if len(wanted) > 1:
        raise ConfigurationError(
            f"bots.{bot.name}: its plugins want different directories: {', '.join(sorted(map(str, wanted)))}",
            path=f"bots.{bot.name}",
        )
    return archive_of(next(iter(wanted), None), otherwise)


@asynccontextmanager
async def entered(bot: Bot, plugins: Sequence[Plugin[Any]]) -> AsyncIterator[None]:
    """Enter a bot's plugins, once for all calls.

    Raises:
        PluginError: If one of them cannot start.
    """
    async with AsyncExitStack() as stack:
        for plugin in plugins:
            with _told(bot, plugin):
                await stack.enter_async_context(plugin)
        yield


@contextmanager
def _told(bot: Bot, plugin: Plugin[Any]) -> Iterator[None]:
    try:
        yield
    except VokiError:
        raise
    except Exception as error:
        why = f"plugin {plugin.name!r} of bot {bot.name!r} cannot start: {type(error).__name__}: {error}"
        raise PluginError(why, plugin=plugin.name) from error
