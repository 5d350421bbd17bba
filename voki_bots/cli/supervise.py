"""``voki-bots supervise``: a supervisor in one call, from a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voki_bots.cli.join import CallId, Seconds, Tenant, checked_ids
from voki_bots.cli.text import shown
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from voki_bots.bots.bot import Bot
    from voki_bots.bots.supervision import SupervisionStrategy
    from voki_bots.calls import Call, Supervision
    from voki_bots.media.prompts import Prompt
    from voki_bots.settings import VokiSettings


def supervise(
    call_id: CallId,
    tenant: Tenant = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The platform, the supervisor's own account, [supervision]."),
    ] = None,
    say: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of audio to say; without it only to listen.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="Who hears it: whisper (the attendant alone) or barge (everybody).")
    ] = "whisper",
    captions: Annotated[
        str | None,
        typer.Option(metavar="LANGUAGE", help="Show what is said, by the model that is installed for it."),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the journal of what was done goes.")
    ] = Path("supervision"),
    seconds: Seconds = None,
) -> None:
    """Listen to a call, and say something to the attendant alone or to everybody.

    Shows who is there and how loud, and with --captions what is said. The platform is asked as the table
    [supervision] says, for its documents do not; whoever is supervised is told by it. Who hears whom:
    voki-bots explain supervision.
    """
    from rich.console import Console

    from voki_bots.calls import Call, Supervision
    from voki_bots.media.prompts import Prompt
    from voki_bots.service import telemetry
    from voki_bots.settings import load_proof, load_supervision

    checked_ids(call_id, tenant)
    if mode not in (Supervision.WHISPER, Supervision.BARGE):
        raise ConfigurationError(f"--mode: expected whisper or barge, got {mode!r}", path="mode")
    voki, strategy = load_supervision(config, tenant=tenant)
    voki.secret()
    profile = load_proof(config, voki)
    prompt = None if say is None else Prompt.from_file(say)
    shows = _captions(captions)
    telemetry.setup("console", level="warning")
    call = Call(voki.tenant, call_id)
    console = Console()
    proven = profile.proven if profile is not None else frozenset()
    if profile is not None and profile.signature is not None:
        by, modes = profile.signature.by, ", ".join(sorted(map(str, proven))) or "nothing"
        typer.echo(shown(f"the profile of {profile.made:%Y-%m-%d}, signed by {by}, proves: {modes}"))
    asyncio.run(
        _supervise(
            voki,
            strategy,
            call,
            prompt,
            Supervision(mode),
            output,
            seconds,
            console,
            shows=shows,
            proven=proven,
        )
    )


def _captions(language: str | None) -> Bot | None:
    """A bot whose plugins show what is said; None without.

    Raises:
        ConfigurationError: If there is no transcriber, or no model for the language.
    """
    from voki_bots.bots.bot import Bot
    from voki_bots.calls import UtteranceHeard
    from voki_bots.cli.text import clock

    if language is None:
        return None
    bot = Bot("supervisor").transcribe(language=language, warm=0, partials=False)

    @bot.on_final()
    async def show(_: object, said: UtteranceHeard) -> None:
        typer.echo(f"{clock(said.start)}  {shown(said.name or str(said.role), 24)}: {shown(said.text, 200)}")

    return bot


async def _supervise(
    voki: VokiSettings,
    strategy: SupervisionStrategy,
    call: Call,
    prompt: Prompt | None,
    mode: Supervision,
    output: Path,
    seconds: float | None,
    console: Console,
    *,
    shows: Bot | None = None,
    proven: Collection[Supervision] = (),
) -> None:
    from voki_bots.bots.account import Account
    from voki_bots.bots.crew import entered
    from voki_bots.bots.registry import Registry
    from voki_bots.bots.supervision import Supervisor
    from voki_bots.cli.demo import Meter
    from voki_bots.cli.progress import line, watching
    from voki_bots.cli.stopping import stopping
    from voki_bots.settings import credentials_of

    meter = Meter()
    async with AsyncExitStack() as stack:
        plugins: list[Any] = [meter]
        if shows is not None:
            plugins += (made := shows.plugins(Registry(), path="captions"))
            await stack.enter_async_context(entered(shows, made))
        account = await stack.enter_async_context(Account(credentials_of(voki)))
        supervisor = await stack.enter_async_context(
            Supervisor(call, account, strategy, archive=output, plugins=plugins, proven=proven)
        )
        if prompt is not None:
            played = await supervisor.speak(mode, prompt)
            line(console, 0.0, f"{mode}: {played:.1f} s were said")
        session = await supervisor.monitor()
        line(console, session.now, "listening; Ctrl-C leaves")
        with stopping(lambda: session.leave("stopped")):
            why = await watching(session, seconds, console, levels=meter.levels)
        line(console, session.now, f"left: {why or 'the time that was asked for is over'}")
