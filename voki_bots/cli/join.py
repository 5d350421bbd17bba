"""``voki-bots join``: one bot in one call, until it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voki_bots.cli.text import shown, size
from voki_bots.errors import ConfigurationError, FileWriteError, IceError, PluginError

if TYPE_CHECKING:
    from rich.console import Console

    from voki_bots.bots.bot import Bot
    from voki_bots.bots.plugin import Plugin
    from voki_bots.calls import Call
    from voki_bots.settings import Settings

_BOT = "join"
_METER = "display"

CallId = Annotated[
    str, typer.Argument(metavar="CALL_ID", help="The call's id, as `voki-bots calls` shows it.")
]
Tenant = Annotated[
    str | None, typer.Option(metavar="T", help="The call's tenant, if not that of [voki] or VOKI_TENANT.")
]
Seconds = Annotated[float | None, typer.Option(min=0.0, metavar="N", help="Leave after so many seconds.")]


def join(
    call_id: CallId,
    tenant: Tenant = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The platform, the account and, if wanted, a bot."),
    ] = None,
    bot: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which bot of the file, if it has several.")
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A plugin instead of a bot of the file; may be repeated. Without either it is the recorder.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where calls are kept, instead of what settings say.")
    ] = None,
    seconds: Seconds = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object at the end; progress goes to standard error."),
    ] = False,
) -> None:
    """Attend one call until it ends, Ctrl-C, or --seconds have passed.

    Shows who is there, how loud, and what is being written. The account needs only VOKI_URL, VOKI_EMAIL and
    VOKI_PASSWORD (or --config) beside --tenant.
    """
    checked_ids(call_id, tenant)
    from rich.console import Console

    from voki_bots import settings as reading
    from voki_bots.bots.crew import archive_for, check
    from voki_bots.calls import Call
    from voki_bots.service import telemetry

    settings = reading.load(config, _asked(plugin), otherwise=_recorder(), tenant=tenant)
    settings.voki.secret()
    chosen, plugins = _chosen(settings, bot, plugin)
    check([(chosen, plugins)])
    archive = output or archive_for(chosen, plugins, settings.archive.directory)
    _check_directory(archive, "--output" if output else "archive.directory")
    console = Console(stderr=as_json)
    telemetry.setup("console", level="warning")
    call = Call(settings.voki.tenant, call_id)
    directory = asyncio.run(_attend(settings, chosen, plugins, call, archive, seconds, console))
    _finish(directory, call, as_json=as_json)


def checked_ids(call_id: str, tenant: str | None) -> None:
    """Refuse ids that no call and no tenant can have."""
    from voki_bots.calls import problem_with_id

    if problem := problem_with_id(call_id):
        raise ConfigurationError(f"CALL_ID: the call's id {problem}", path="CALL_ID")
    if tenant is not None and (problem := problem_with_id(tenant)):
        raise ConfigurationError(f"--tenant: the tenant's slug {problem}", path="tenant")


def _recorder() -> Bot:
    from voki_bots.bots.bot import Bot

    return Bot(_BOT).record()


def _asked(plugins: list[str] | None) -> tuple[Bot, ...]:
    from voki_bots.bots.bot import Bot

    if not plugins:
        return ()
    bot = Bot(_BOT)
    for name in plugins:
        bot.use(name)
    return (bot,)


def _chosen(
    settings: Settings, name: str | None, asked: list[str] | None
) -> tuple[Bot, tuple[Plugin[Any], ...]]:
    """Take the bot made of --plugin, the one named, or the only one."""
    if asked:
        if name is not None:
            raise ConfigurationError("--bot: give either --bot or --plugin, not both", path="bot")
        return settings.bots[0]
    names = [bot.name for bot, _ in settings.bots]
    if name is None and len(names) == 1:
        return settings.bots[0]
    if name is None or name not in names:
        came = "nothing" if name is None else repr(name)
        raise ConfigurationError(f"--bot: expected one of {', '.join(names)}; got {came}", path="bot")
    return settings.bots[names.index(name)]


def _check_directory(directory: Path, setting: str) -> None:
    from voki_bots.archive.disk import problem_with_directory

    if problem := problem_with_directory(directory):
        raise ConfigurationError(f"{setting}: {problem}", path=setting)


async def _attend(
    settings: Settings,
    bot: Bot,
    plugins: tuple[Plugin[Any], ...],
    call: Call,
    archive: Path,
    seconds: float | None,
    console: Console,
) -> Path:
    """Attend the call; return its folder.

    Raises:
        SignallingError: If the account or the call is refused, or the platform cannot be reached.
    """
    from voki_bots.bots.accounts import Accounts
    from voki_bots.bots.crew import Crew, entered
    from voki_bots.cli.demo import Meter
    from voki_bots.cli.progress import line, watching
    from voki_bots.cli.stopping import stopping
    from voki_bots.settings import credentials_of

    meter = Meter()
    meter.name = _METER
    attending = (*plugins, meter)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(entered(bot, attending))
        accounts = await stack.enter_async_context(Accounts())
        account = await accounts.account(credentials_of(settings.voki, bot))
        session = Crew(bot, attending, archive, account, accounts).session(call)
        failing = asyncio.create_task(account.failed())
        stack.callback(failing.cancel)
        async with session:
            line(console, session.now, f"{bot.name} is in {shown(call)}, writing to {session.directory}")
            failing.add_done_callback(lambda _: session.leave("the platform refuses our account"))
            with stopping(lambda: session.leave("stopped")):
                why = await watching(session, seconds, console, levels=meter.levels)
            session.leave("the time that was asked for is over")
        if failing.done():
            raise failing.result()
        line(console, session.now, f"left: {shown(why or await session.ended())}")
        return session.directory


def _finish(directory: Path, call: Call, *, as_json: bool) -> None:
    """Tell what is on disk now, as the journal knows it.

    Raises:
        PluginError: If a plugin was detached during the call.
        IceError: If no media connection ever came up.
        FileWriteError: If the folder was not sealed, or does not add up.
    """
    from voki_bots.archive.journal import read_journal
    from voki_bots.archive.layout import JOURNAL
    from voki_bots.archive.sidecar import fold

    told = fold(read_journal(directory / JOURNAL))
    problem = _problem(directory, call, told)
    sizes = {each["path"]: each["bytes"] for each in told["files"]}
    files = [
        {
            "path": str(directory / track["file"]),
            "role": track["role"],
            "participant": track["participant"],
            "seconds": track["audio"],
            "bytes": sizes.get(track["file"]),
        }
        for track in told["tracks"]
        if track["file"]
    ]
    if as_json:
        said = {
            "ok": problem is None,
            "tenant": call.tenant,
            "call": call.call_id,
            "reason": told["reason"],
            "seconds": told["duration"],
            "directory": str(directory),
            "participants": [{"name": p["name"], "role": p["role"]} for p in told["participants"]],
            "files": files,
        }
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        for each in files:
            amount = size(each["bytes"] or 0)
            typer.echo(f"{each['path']}  {shown(each['role'])}  {each['seconds'] or 0:.2f} s  {amount}")
        typer.echo(f"{directory}: {told['duration']:.1f} s, {len(files)} recordings")
    if problem is not None:
        raise problem


def _problem(directory: Path, call: Call, told: dict[str, Any]) -> Exception | None:
    for each in told["plugins_detached"]:
        return PluginError(
            f"plugin {each['plugin']!r} failed in call {call} and was detached: {each['why']}",
            plugin=each["plugin"],
        )
    if not any(each["connected"] is not None for each in told["segments"]):
        return IceError(
            f"no media connection came up in call {call}; see what `voki-bots doctor` says of TURN",
            state="never connected",
        )
    if not told["sealed"]:
        return FileWriteError(f"{directory} could not be sealed; is the disk full?", path=str(directory))
    for violation in told["invariant"]["violations"]:
        return FileWriteError(f"{directory} does not add up: {violation}", path=str(directory))
    return None
