"""``voki-bots calls``: what the platform shows to our account."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voki_bots.cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voki_bots.bots.account import Credentials
    from voki_bots.calls import Call


def calls(
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
    """List the calls that the platform shows to the account.

    The ids in it are what `voki-bots join` takes.
    """
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
