"""``voki-bots probe``: find out how a platform behaves, by a closed test call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voki_bots.cli.ending import ExitCode
from voki_bots.cli.join import Tenant
from voki_bots.cli.text import shown
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from voki_bots.bots.profile import CapabilityProfile
    from voki_bots.calls import Supervision
    from voki_bots.probe.run import Probe


def probe(
    department: Annotated[
        str, typer.Option(metavar="ID", help="The test department, which the file must name as one.")
    ],
    config: Annotated[
        Path, typer.Option(metavar="FILE.toml", help="[voki], [supervision], [probe] and both accounts.")
    ],
    link: Annotated[
        str | None,
        typer.Option(metavar="LINK", help="An access link of the department, instead of probe.link."),
    ] = None,
    tenant: Tenant = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODE", help="monitor, whisper or barge; may be repeated. Without it all three."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.toml", help="Where the profile is written.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the profile as JSON; progress goes to standard error.")
    ] = False,
) -> None:
    """Find out how this platform behaves, and who hears a supervisor on it, by a closed test call.

    A customer enters by the access link, an attendant takes the call, a supervisor joins it, each with a
    tone; it takes up to 90 seconds. Nothing is recorded, and the call is completed at the end. It makes a
    real call with all that follows from one (webhooks, statistics), so the department must be named as one
    for tests: [probe] test_departments. What is found is a capability profile, which an operator signs.
    """
    from importlib.metadata import version

    from voki_bots.probe.run import Plan, Probe
    from voki_bots.service import telemetry
    from voki_bots.settings import load_probe

    settings = load_probe(config, tenant=tenant)
    modes = _modes(mode)
    plan = Plan(
        department,
        settings.probe.test_departments,
        _token(link if link is not None else settings.probe.link),
        settings.attendant,
        settings.supervisor,
        settings.strategy,
        modes=modes,
    )
    if output is not None and not output.absolute().parent.is_dir():
        raise ConfigurationError(f"--output: {output.parent} is no directory", path="output")
    telemetry.setup("console", level="critical")  # what goes wrong is a finding, and told as one
    probing = Probe(
        plan,
        software=f"voki-bots {version('voki-bots')}",
        told=lambda what: typer.echo(shown(what), err=as_json),
    )
    found = asyncio.run(_run(probing))
    if found is None:
        typer.echo("interrupted; the test call was ended, and no profile was written", err=True)
        raise typer.Exit(int(ExitCode.INTERRUPTED))
    _write(found, output, as_json=as_json)


async def _run(probing: Probe) -> CapabilityProfile | None:
    """Probe; None if it was interrupted, after everything was torn down."""
    from voki_bots.cli.stopping import stopping

    task = asyncio.create_task(probing.run(), name="probe")
    with stopping(task.cancel):
        await asyncio.wait({task})
    return None if task.cancelled() else task.result()


def _modes(wanted: list[str] | None) -> tuple[Supervision, ...]:
    from voki_bots.calls import Supervision

    known = [str(mode) for mode in Supervision]
    for each in wanted or ():
        if each not in known:
            raise ConfigurationError(f"--mode: expected {', '.join(known)}, got {each!r}", path="mode")
    return tuple(mode for mode in Supervision if not wanted or str(mode) in wanted)


def _token(link: str) -> str:
    """The token of an access link, which may be given as its whole address."""
    return link.strip().rstrip("/").rpartition("/")[2]


def _write(found: CapabilityProfile, output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        output.write_text(found.to_toml(), encoding="utf-8")
    if as_json:
        typer.echo(found.model_dump_json())
    elif output is None:
        typer.echo(found.to_toml(), nl=False)
    else:
        typer.echo(f"{output}: written; an operator reads and signs it: voki-bots profile sign {output}")
