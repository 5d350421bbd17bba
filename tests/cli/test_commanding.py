"""`voki-bots calls pause` and its like: how they fail. What they do is a journey."""

from pathlib import Path

import pytest

from tests.cli.conftest import Program

TOKEN = "a-token-of-the-tests"
COMMANDS = [("list",), ("pause", "5f3c"), ("resume", "5f3c")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_without_a_control_token_it_is_a_mistake_of_usage(
    voki_bots: Program, account: dict[str, str], command: tuple[str, ...]
) -> None:
    """The sentence says where to set it."""
    said = voki_bots("calls", *command, **account)
    assert (said.exit_code, "VOKI_CONTROL_TOKEN" in said.stderr) == (2, True)


def test_a_service_that_does_not_answer_is_unreachable(voki_bots: Program, account: dict[str, str]) -> None:
    """The sentence says where it was looked for, and not with which token."""
    url = "http://127.0.0.1:1"
    said = voki_bots("calls", "pause", "5f3c", "--url", url, VOKI_CONTROL_TOKEN=TOKEN, **account)
    assert (said.exit_code, url in said.stderr, TOKEN in said.stderr) == (4, True, False)


def test_a_short_token_is_refused(voki_bots: Program, account: dict[str, str]) -> None:
    """It could be guessed."""
    said = voki_bots("calls", "list", VOKI_CONTROL_TOKEN="short", **account)
    assert (said.exit_code, "at least 16 characters" in said.stderr) == (2, True)


def test_a_token_in_the_file_itself_is_refused(
    voki_bots: Program, account: dict[str, str], tmp_path: Path
) -> None:
    """As every secret."""
    file = tmp_path / "bots.toml"
    file.write_text(f'[voki]\ncontrol_token = "{TOKEN}"\n')
    said = voki_bots("calls", "list", "--config", file, **account)
    assert (said.exit_code, "VOKI_CONTROL_TOKEN" in said.stderr) == (2, True)
