"""`voki-bots join`, as far as it goes without a platform."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from voki_bots.archive.disk import problem_with_directory
from voki_bots.bots.bot import Bot
from voki_bots.bots.registry import Registry


@pytest.mark.parametrize("call_id", ["", "   ", "a\nb", "a\0b", "a\x1b[2Jb", "x" * 5000, "a\u2028b"])
def test_a_hostile_id_is_one_sentence(voki_bots: Any, account: Mapping[str, str], call_id: str) -> None:
    """An id that no call can have is usage; it is not repeated, and nothing is asked of the platform."""
    said = voki_bots("join", call_id, "--output", "takes", **account)
    assert (said.exit_code, said.stderr.count("\n"), said.stderr[:14]) == (2, 1, "error: CALL_ID")


@pytest.mark.parametrize("call_id", ["a\nb", "a\0b", "x" * 5000, ""])
def test_a_hostile_id_writes_nothing(voki_bots: Any, account: Mapping[str, str], call_id: str) -> None:
    """Not even the directory is made."""
    voki_bots("join", call_id, "--output", "takes", **account)
    assert list(Path.cwd().parent.rglob("*")) == [Path.cwd()]


def test_a_hostile_tenant_is_one_sentence(voki_bots: Any, account: Mapping[str, str]) -> None:
    """A tenant becomes a header and a folder; what no tenant can be is usage."""
    said = voki_bots("join", "5f3c", "--tenant", "a\nb", **account)
    assert (said.exit_code, said.stderr.count("\n")) == (2, 1)


def test_an_unknown_plugin_names_the_known(voki_bots: Any, account: Mapping[str, str]) -> None:
    """What is installed is listed."""
    said = voki_bots("join", "5f3c", "--plugin", "recorde", **account)
    assert (said.exit_code, "installed: " in said.stderr) == (2, True)


def test_an_unwritable_directory_is_told_before_anything_connects(
    voki_bots: Any, account: Mapping[str, str], tmp_path: Path
) -> None:
    """A file where the directory should be: usage, and the option is named."""
    (tmp_path / "file").touch()
    said = voki_bots("join", "5f3c", "--output", tmp_path / "file/takes", **account)
    assert (said.exit_code, said.stderr[:16]) == (2, "error: --output:")


@pytest.mark.parametrize("bot", [None, "nobody"])
def test_a_file_with_several_bots_asks_which(
    voki_bots: Any, account: Mapping[str, str], bot: str | None
) -> None:
    """The names are listed."""
    Path("b.toml").write_text('[[bots]]\nname = "one"\n[[bots]]\nname = "two"\n')
    chosen = ("--bot", bot) if bot else ()
    said = voki_bots("join", "5f3c", "--config", "b.toml", *chosen, **account)
    assert (said.exit_code, "expected one of one, two" in said.stderr) == (2, True)


def test_no_account_names_what_to_set(voki_bots: Any) -> None:
    """Every missing setting with its variable, each on its own line."""
    said = voki_bots("join", "5f3c", "--tenant", "acme")
    assert (said.exit_code, [v in said.stderr for v in ("VOKI_URL", "VOKI_EMAIL", "VOKI_TENANT")]) == (
        2,
        [True, True, False],
    )


def test_a_missing_password_is_a_sentence(voki_bots: Any, account: Mapping[str, str]) -> None:
    """The secret's variable is named before anything connects."""
    said = voki_bots("join", "5f3c", **{k: v for k, v in account.items() if k != "VOKI_PASSWORD"})
    assert (said.exit_code, "VOKI_PASSWORD" in said.stderr) == (2, True)


def test_a_directory_that_could_be_made_is_fine(tmp_path: Path) -> None:
    """Missing folders are no problem, and are not made."""
    assert (problem_with_directory(tmp_path / "a/b"), list(tmp_path.iterdir())) == (None, [])


def test_the_recorder_is_what_join_does_by_itself() -> None:
    """The plugin that `join` takes without being told is installed with the product."""
    assert [p.name for p in Bot("join").record().plugins(Registry())] == ["recorder"]
