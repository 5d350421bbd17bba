"""The program as a whole: help, usage, and how it ends."""

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
import typer

from voki_bots.cli.main import COMMANDS, app

_HEAVY = {"aiortc", "av", "numpy", "fastapi", "pydantic", "httpx", "websockets", "aiohttp", "rich"}
_ASK = f"""
import sys
from voki_bots.cli.main import main
try:
    main()
except SystemExit:
    pass
print(sorted({_HEAVY!r} & set(sys.modules)))
"""


def _commands() -> list[tuple[str, Any]]:
    """Every command and every command in a group, with its full name."""
    group: Any = typer.main.get_command(app)
    found: list[tuple[str, Any]] = []
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        below = getattr(command, "commands", {})
        found += [(f"{name} {each}", one) for each, one in below.items()] or [(name, command)]
    return found


def test_help_imports_nothing_heavy() -> None:
    """`--help` is there at once, for it loads neither media nor network nor web."""
    said = subprocess.run([sys.executable, "-c", _ASK, "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_what_a_command_says_of_itself(name: str) -> None:
    """The summaries in the list are the first lines of the commands' own help."""
    module, _, attribute = COMMANDS[name].where.partition(":")
    found = getattr(import_module(module), attribute)
    said: Any = found.info.help if isinstance(found, typer.Typer) else found.__doc__
    assert said.strip().split("\n")[0] == COMMANDS[name].summary


@pytest.mark.parametrize(("name", "command"), _commands())
def test_help_teaches(name: str, command: Any) -> None:
    """Every command explains itself in more than a line, and ends with an example of its use."""
    assert "\n" in command.help.strip() and f"voki-bots {name}" in command.epilog


@pytest.mark.parametrize(("name", "command"), _commands())
def test_every_option_has_help(name: str, command: Any) -> None:
    """No option is left to guessing."""
    assert [one.name for one in command.params if not getattr(one, "help", None)] == []


def test_the_module_is_the_program() -> None:
    """``python -m voki_bots`` does what ``voki-bots`` does."""
    said = subprocess.run([sys.executable, "-m", "voki_bots", "--version"], capture_output=True, text=True)
    assert (said.returncode, said.stdout.split()[0]) == (0, "voki-bots")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("run",), ("join", "5f3c", "--nonsense"), ("recordings", "x")]
)
def test_wrong_usage_is_code_2(voki_bots: Any, arguments: tuple[str, ...]) -> None:
    """An unknown command or option, or a missing argument, is usage."""
    assert voki_bots(*arguments).exit_code == 2


def test_an_error_of_a_command_is_one_sentence(voki_bots: Any, account: dict[str, str]) -> None:
    """What a command raises ends as a sentence on standard error, with its code."""
    said = voki_bots("join", "", **account)
    assert (said.exit_code, said.stderr) == (2, "error: CALL_ID: the call's id is empty\n")


def test_debug_adds_the_traceback(voki_bots: Any, account: dict[str, str]) -> None:
    """`--debug` before the command shows where the error came from."""
    assert "Traceback" in voki_bots("--debug", "join", "", **account).stderr
