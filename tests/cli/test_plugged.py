"""Commands that packages of plugins bring along."""

from collections.abc import Callable
from typing import Any

import pytest

_MODULE = '''
import typer

app = typer.Typer()

@app.command()
def count(to: int) -> None:
    """Count aloud."""
    typer.echo(" ".join(str(number) for number in range(1, to + 1)))

def run() -> None:
    """Not the program's own."""
'''


@pytest.fixture
def counting(install: Callable[..., None]) -> None:
    """An installed package with a command, one that cannot be imported, and one under a taken name."""
    points = "[voki_bots.commands]\ncount = counting:app\nbroken = no_such_module:app\nrun = counting:run\n"
    install("counting", points, counting=_MODULE)


@pytest.mark.usefixtures("counting")
def test_a_command_of_a_plugin_is_run(voki_bots: Any) -> None:
    """It is a command like any other, arguments and all."""
    assert voki_bots("count", "3").stdout == "1 2 3\n"


@pytest.mark.usefixtures("counting")
def test_help_names_the_package_of_a_command(voki_bots: Any) -> None:
    """Help lists it apart from our own, without importing it."""
    _, _, listed = voki_bots("--help").stdout.partition("Commands of plugins:\n")
    assert [line.split() for line in listed.splitlines()[:2]] == [
        ["broken", "(counting", "1.0)"],
        ["count", "(counting", "1.0)"],
    ]


@pytest.mark.usefixtures("counting")
def test_a_command_that_cannot_be_imported_is_one_sentence(voki_bots: Any) -> None:
    """The others stay usable, and this one says what is wrong with it."""
    said = voki_bots("broken")
    assert (said.exit_code, said.stderr) == (
        2,
        "error: plugin 'broken' cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'\n",
    )


@pytest.mark.usefixtures("counting")
def test_no_package_takes_a_command_over(voki_bots: Any) -> None:
    """A name of our own stays ours, whatever is installed."""
    assert "Attend calls with the bots of a file" in voki_bots("run", "--help").stdout
