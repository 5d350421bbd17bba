"""``voki-bots run``: the service."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    CONSOLE = "console"


def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="bots.toml, or bot.py that makes voki_bots.Bot objects.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="With a .py file: the TOML file that holds the [voki] table."),
    ] = None,
    log: Annotated[
        LogFormat | None, typer.Option(help="How log lines are written, if not as [service] says.")
    ] = None,
) -> None:
    """Attend calls with the bots of a file until SIGTERM or Ctrl-C.

    Everything is validated before anything connects; every problem is named with its path. At the signal
    the calls end cleanly: their files are closed and sealed.
    """
    from voki_bots.cli.running import attend, load_file

    attend(load_file(file, config), log=log.value if log else None)
