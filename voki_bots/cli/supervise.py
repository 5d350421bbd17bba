"""``voki-bots supervise``: a supervisor in one call, from a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voki_bots.cli.join import CallId, Seconds, Tenant, checked_ids
from voki_bots.cli.text import shown
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

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
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the journal of what was done goes.")
    ] = Path("supervision"),
    seconds: Seconds = None,
) -> None:
    """Listen to a call, and say something to the attendant alone or to everybody.

    Shows who is there and how loud. The platform is asked as the table [supervision] says, for its documents
    do not; whoever is supervised is told by it. Who hears whom: voki-bots explain supervision.
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
    telemetry.setup("console", level="warning")
    call = Call(voki.tenant, call_id)
    console = Console()
    proven = profile.proven if profile is not None else frozenset()
    if profile is not None and profile.signature is not None:
        by, modes = profile.signature.by, ", ".join(sorted(map(str, proven))) or "nothing"
        typer.echo(shown(f"the profile of {profile.made:%Y-%m-%d}, signed by {by}, proves: {modes}"))
    asyncio.run(
        _supervise(voki, strategy, call, prompt, Supervision(mode), output, seconds, console, proven=proven)
    )


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
    proven: Collection[Supervision] = (),
) -> None:
    from voki_bots.bots.account import Account
    from voki_bots.bots.supervision import Supervisor
    from voki_bots.cli.demo import Meter
    from voki_bots.cli.progress import line, watching
    from voki_bots.cli.stopping import stopping
    from voki_bots.settings import credentials_of

    meter = Meter()
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(Account(credentials_of(voki)))
        supervisor = await stack.enter_async_context(
            Supervisor(call, account, strategy, archive=output, plugins=[meter], proven=proven)
        )
        if prompt is not None:
            played = await supervisor.speak(mode, prompt)
            line(console, 0.0, f"{mode}: {played:.1f} s were said")
        session = await supervisor.monitor()
        line(console, session.now, "listening; Ctrl-C leaves")
        with stopping(lambda: session.leave("stopped")):
            why = await watching(session, seconds, console, levels=meter.levels)
        line(console, session.now, f"left: {why or 'the time that was asked for is over'}")
