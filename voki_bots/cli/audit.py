"""``voki-bots audit``: who did what with a service, and whether somebody changed what is written of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from voki_bots.cli.text import shown
from voki_bots.errors import ConfigurationError

COLUMNS = ("utc", "by", "type", "tenant", "call")
CHAIN = ("seq", "at", "prev", "hash")


def audit(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The archive of the service.", show_default=False)
    ],
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this person did.")] = None,
    call: Annotated[str | None, typer.Option(metavar="ID", help="Only what was done to this call.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead, one object a line.")] = False,
) -> None:
    """Show who did what with a service, and prove that nobody changed what is written of it.

    The exit code is 0 only if the chain of hashes holds; where it does not is told on standard error.
    """
    from voki_bots.archive.journal import check_chain, read_journal
    from voki_bots.service.audit import AUDIT

    path = directory / AUDIT
    if not path.is_file():
        raise ConfigurationError(f"DIR: no service has written an audit into {directory}", path="DIR")
    lines = read_journal(path)
    wanted = [each for each in lines if by in (None, each.get("by")) and call in (None, each.get("call"))]
    if as_json:
        for line in wanted:
            typer.echo(json.dumps(line, ensure_ascii=False))
    else:
        _print(wanted)
    problems = check_chain(lines)
    for problem in problems:
        typer.echo(f"FAILED  {shown(problem)}", err=True)
    if problems:
        raise typer.Exit(1)


def _print(lines: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from voki_bots.cli.table import print_table

    table = Table("when", "who", "did", "tenant", "call", "more")
    for line in lines:
        more = {key: value for key, value in line.items() if key not in (*COLUMNS, *CHAIN)}
        when = str(line.get("utc", ""))[:19].replace("T", " ")
        cells = [shown(str(line.get(key) or "–"), 40) for key in COLUMNS[1:]]
        table.add_row(when, *cells, shown(", ".join(f"{key}: {value}" for key, value in more.items()), 120))
    print_table(table)
