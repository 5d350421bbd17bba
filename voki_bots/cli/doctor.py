"""``voki-bots doctor``: is everything there that a bot needs?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from voki_bots.cli.checks import Finding
from voki_bots.cli.text import shown

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="The file that would be run; without it the environment is asked."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Check everything that a bot needs, and say what to do about what is missing.

    Versions, libopus, configuration, disk, then the platform: reachable, sign-in, call list, websocket, TURN.
    It joins no call. The exit code is 0 if nothing failed, else that of the worst failure.
    """
    from voki_bots.service import telemetry

    telemetry.setup("console", level="error")
    found = asyncio.run(_run(config, as_json=as_json))
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in found], ensure_ascii=False))
    if worst := max((finding.code for finding in found), default=0):
        raise typer.Exit(worst)


async def _run(config: Path | None, *, as_json: bool) -> list[Finding]:
    found: list[Finding] = []
    async for finding in _all(config):
        found.append(finding)
        if not as_json:
            _print(finding)
    return found


async def _all(config: Path | None) -> AsyncIterator[Finding]:
    from voki_bots.cli import checks

    for finding in (*checks.versions(), checks.opus()):
        yield finding
    settings = checks.Configured(config)
    for finding in (*settings.findings(), *settings.directories()):
        yield finding
    if settings.credentials is None:
        yield Finding("platform", "warning", "not asked, for the configuration must be right first")
        return
    async for finding in checks.platform(settings.credentials):
        yield finding


def _print(finding: Finding) -> None:
    state = typer.style(f"{finding.state:<8}", fg=_COLOURS[finding.state])
    typer.echo(f"{state} {finding.check}: {shown(finding.said)}")
    if finding.advice:
        typer.echo(f"{'':<8} → {shown(finding.advice)}")
