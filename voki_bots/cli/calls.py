"""``voki-bots calls``: what the platform shows to our account, and commands to a running service."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from voki_bots.cli.commanding import RunningService
from voki_bots.cli.text import clock, shown
from voki_bots.errors import VokiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voki_bots.bots.account import Credentials
    from voki_bots.calls import Call

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="List the calls that the platform shows to the account, or command those that a service attends.\n\n"
    "Without a command it lists what the platform shows; the ids in it are what `voki-bots join` takes. The "
    "commands ask a service that `voki-bots run` started. They need its control token: VOKI_CONTROL_TOKEN or "
    "service.control_token_file in the file of --config.",
)

Call_: TypeAlias = Annotated[str, typer.Argument(metavar="CALL", help="The call's id.", show_default=False)]
Config: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.toml", help="The file that the service runs with.")
]
Tenant: TypeAlias = Annotated[
    str | None, typer.Option(metavar="T", help="The call's tenant, if not that of [voki].")
]
Url: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="Where the service is, if not where the file says.")
]
Actor: TypeAlias = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Who you are, for the journal; by default your login."),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@app.callback(invoke_without_command=True)
def calls(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="The file that holds the [voki] table.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="T", help="The tenant, if not that of [voki] or VOKI_TENANT.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="S", help="Only calls of this status, for example queued or active.")
    ] = None,
    department: Annotated[
        str | None, typer.Option(metavar="ID", help="Only calls of this department, by its id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List what the platform shows, unless a command is given."""
    if ctx.invoked_subcommand is not None:
        return
    from voki_bots.service import telemetry
    from voki_bots.settings import credentials_of, load_voki

    telemetry.setup("console", level="warning")
    credentials = credentials_of(load_voki(config, tenant=tenant))
    found = asyncio.run(_fetch(credentials, status, department))
    if as_json:
        typer.echo(json.dumps([asdict(call) for call in found], ensure_ascii=False))
    else:
        _print(found, credentials.tenant)


async def _fetch(credentials: Credentials, status: str | None, department: str | None) -> list[Call]:
    from voki_bots.cli.platform import signed_in

    async with signed_in(credentials) as (rest, broker):
        return await rest.calls(await broker.token(), status=status, department_id=department)


def _print(found: Sequence[Call], tenant: str) -> None:
    if not found:
        typer.echo(f"no such calls in tenant {shown(tenant)}")
        return
    from rich.table import Table

    from voki_bots.cli.table import print_table

    table = Table("call", "status", "department", "attendant", "customer")
    for call in found:
        table.add_row(
            shown(call.call_id),
            shown(call.status or "–"),
            shown(call.department or call.department_id or "–", 30),
            shown(call.attendant_name or call.attendant_id or "–", 30),
            shown(call.customer_name or "–", 30),
        )
    print_table(table)


@app.command("list", epilog="\b\nExample:\n  voki-bots calls list --config bots.toml")
def list_(config: Config = None, tenant: Tenant = None, url: Url = None, as_json: AsJson = False) -> None:
    """List the calls that a running service attends, and who has paused them.

    One line for each bot in each call. What the platform shows is listed by `voki-bots calls` alone.
    """
    service = RunningService(config, url, tenant)
    _states(service.ask("GET", "/api/v1/running"), as_json=as_json)


@app.command(
    epilog="\b\nExamples:\n"
    "  voki-bots calls pause 5f3c --config bots.toml --reason 'card number' --for 120\n"
    "  VOKI_CONTROL_TOKEN=… voki-bots calls pause 5f3c --tenant acme --url http://127.0.0.1:8080"
)
def pause(
    call: Call_,
    config: Config = None,
    tenant: Tenant = None,
    url: Url = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", min=0.001, help="Go on by itself after so many seconds."),
    ] = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let nothing of a call reach any file, transcript or listener from now on, in all its bots.

    The span is silence in every file and a gap `masked`, journalled with who and why. It lasts until
    `voki-bots calls resume`, or for --for SECONDS, or as long as the bot's longest_pause allows. Pausing
    again renews it; a reconnect or a crash of the service does not end it. Each NAME has its own pause.
    """
    service = RunningService(config, url, tenant)
    body = {"actor": _actor(actor), "reason": reason, "seconds": seconds}
    _states(service.command(call, "pause", body), as_json=as_json)


@app.command(epilog="\b\nExample:\n  voki-bots calls resume 5f3c --config bots.toml")
def resume(
    call: Call_,
    config: Config = None,
    tenant: Tenant = None,
    url: Url = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="End everybody's pauses, not only your own.")
    ] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End your pause of a call.

    Media flow again once nobody has paused the call; while somebody else has, the command fails and says who.
    """
    service = RunningService(config, url, tenant)
    states = service.command(call, "resume", {"actor": _actor(actor), "everyone": everyone})
    _states(states, as_json=as_json)
    holding = sorted({pause["actor"] for state in states for pause in state["pauses"]})
    if holding:
        raise VokiError(
            f"the call is still paused by {', '.join(map(shown, holding))}; --all ends everybody's"
        )


@app.command(
    epilog="\b\nExample:\n  voki-bots calls consent 5f3c --config bots.toml --how 'said yes at 0:12'"
)
def consent(
    call: Call_,
    config: Config = None,
    tenant: Tenant = None,
    url: Url = None,
    of: Annotated[
        str, typer.Option(metavar="ID", help="Of this participant alone; without it, of all who are there.")
    ] = "",
    how: Annotated[str, typer.Option(metavar="TEXT", help="How it is known, for the journal.")] = "",
    refused: Annotated[
        bool, typer.Option("--refused", help="They do not agree: nothing is written any more.")
    ] = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Say that somebody agreed to be recorded, or does not.

    It counts where a bot's policy of consent asks for it; a refusal counts always.
    """
    service = RunningService(config, url, tenant)
    body = {"actor": _actor(actor), "by": of, "how": how, "given": not refused}
    _states(service.command(call, "consent", body), as_json=as_json)


def _actor(given: str | None) -> str:
    import os
    import pwd

    if given is not None:
        return given
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under an id that has no name
        return str(os.getuid())


def _states(states: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(states, ensure_ascii=False))
        return
    if not states:
        typer.echo("the service attends no calls now")
        return
    from rich.table import Table

    from voki_bots.cli.table import print_table

    table = Table("tenant", "call", "bot", "since", "media", "recording")
    for state in states:
        table.add_row(
            shown(state["tenant"], 24),
            shown(state["call"], 40),
            shown(state["bot"], 24),
            clock(state["now"]),
            "connected" if state["connected"] else "connecting",
            "; ".join(_paused(pause, state["now"]) for pause in state["pauses"])
            or ("on" if state["consented"] else "waits for consent"),
        )
    print_table(table)


def _paused(pause: dict[str, Any], now: float) -> str:
    said = f"paused by {shown(pause['actor'], 70)}"
    said += f" ({shown(pause['reason'], 60)})" if pause["reason"] else ""
    return said if pause["until"] is None else f"{said}, for {max(0.0, pause['until'] - now):.0f} s more"
