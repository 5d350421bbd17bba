"""Tables on a terminal and in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_PIPE = 240


def print_table(table: Table) -> None:
    """Print a table to standard output; square brackets in its cells are no markup.

    One that goes into a file or a pipe is not cut to the width of a terminal that is not there.
    """
    console = Console(highlight=False, markup=False)
    console.print(table, width=None if console.is_terminal else _PIPE)
