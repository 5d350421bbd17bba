"""Tables on a terminal and in a pipe."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

_PIPE = 240


def print_table(table: Table) -> None:
    """Print a table to standard output; square brackets in its cells are no markup.

    Nothing is cut off, for ids and paths are there to be copied: on a terminal long cells are folded, and in
    a pipe there is no width to keep to.
    """
    table.box = box.SIMPLE_HEAD
    for column in table.columns:
        column.overflow = "fold"
    width = None if sys.stdout.isatty() else _PIPE
    Console(width=width, highlight=False, markup=False).print(table)
