"""From a file to bots."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from voki_bots.cli.running import load_bots, load_file, run_bots
from voki_bots.errors import ConfigurationError


@pytest.fixture(autouse=True)
def environment(account: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.items():
        monkeypatch.setenv(name, value)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_bots_of_a_python_file_are_found(tmp_path: Path) -> None:
    """Every Bot among the names of the file is one to run."""
    file = written(tmp_path / "b.py", "from voki_bots.bots.bot import Bot\na = Bot('one')\nb = Bot('two')\n")
    assert [bot.name for bot in load_bots(file)] == ["one", "two"]


def test_a_file_that_runs_its_bot_itself_is_only_loaded(tmp_path: Path) -> None:
    """An unguarded ``bot.run()`` starts nothing while ``voki-bots run`` loads the file."""
    text = "from voki_bots.bots.bot import Bot\nbot = Bot('one')\nbot.run()\n"
    assert load_bots(written(tmp_path / "b.py", text))[0].name == "one"


def test_a_python_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    """As if it had been started by ``python bot.py``."""
    written(tmp_path / "beside_the_bot.py", "from voki_bots.bots.bot import Bot\nbot = Bot('beside')\n")
    file = written(tmp_path / "b.py", "from beside_the_bot import bot\n")
    assert load_bots(file)[0].name == "beside"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "makes no bot"),
        ("x = 1\ny = undefined\n", "line 2: NameError: name 'undefined' is not defined"),
        ("x = (\n", "line 1: "),
        ("import sys\nsys.exit(3)\n", "line 2: the file ends the program itself (exit 3)"),
    ],
)
def test_a_file_that_fails_says_where(tmp_path: Path, text: str, said: str) -> None:
    """File, line and cause in one sentence."""
    with pytest.raises(ConfigurationError) as raised:
        load_bots(written(tmp_path / "b.py", text))
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_settings_come_from_a_toml_file(tmp_path: Path) -> None:
    """A TOML file holds all of it."""
    file = written(tmp_path / "b.toml", '[[bots]]\nname = "minutes"\nplugins = ["recorder"]\n')
    assert [bot.name for bot, _ in load_file(file).bots] == ["minutes"]


def test_a_python_file_takes_the_platform_from_another(tmp_path: Path) -> None:
    """`--config` names the platform, the Python file the bots."""
    file = written(tmp_path / "b.py", "from voki_bots.bots.bot import Bot\na = Bot('one')\n")
    config = written(tmp_path / "v.toml", "[service]\nport = 1234\n")
    assert load_file(file, config).service.port == 1234


@pytest.mark.parametrize(
    ("name", "config"),
    [("b.toml", Path("v.toml")), ("b.yaml", None), ("missing.py", None), ("missing.toml", None)],
)
def test_what_is_no_file_of_bots_is_told(tmp_path: Path, name: str, config: Path | None) -> None:
    """A wrong file is a sentence about it."""
    with pytest.raises(
        ConfigurationError, match=name.replace(".", r"\.") if "missing" in name else "expected|leave"
    ):
        load_file(tmp_path / name, config)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path, voki_bots: Any) -> None:
    """`voki-bots run` names each problem by its path, on its own line, before anything connects."""
    file = written(
        tmp_path / "b.toml",
        '[service]\nporto = 1\n[[bots]]\nname = "a"\nplugins = ["recorde"]\n'
        '[[bots]]\nname = "b"\nplugins = ["recorder"]\n[bots.recorder]\ndirectorio = "x"\n',
    )
    said = voki_bots("run", file, VOKI_URL="https://x", VOKI_TENANT="t", VOKI_EMAIL="a@b", VOKI_PASSWORD="p")
    paths = ("service.porto", "no plugin is called 'recorde'", "bots.b.recorder.directorio")
    assert (said.exit_code, [any(p in line for line in said.stderr.splitlines()) for p in paths]) == (
        2,
        [True, True, True],
    )


def test_a_missing_secret_is_a_sentence(tmp_path: Path, voki_bots: Any) -> None:
    """Without a password nothing connects, and the setting is named."""
    file = written(tmp_path / "b.toml", '[[bots]]\nname = "a"\n')
    said = voki_bots("run", file, VOKI_URL="http://127.0.0.1:1", VOKI_TENANT="t", VOKI_EMAIL="a@b")
    assert (said.exit_code, "VOKI_PASSWORD" in said.stderr, said.stderr.count("\n")) == (2, True, 1)


def test_run_from_python_ends_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """``bot.run()`` tells problems as ``voki-bots run`` does."""
    monkeypatch.delenv("VOKI_URL")
    with pytest.raises(SystemExit) as raised:
        run_bots([], None)
    assert raised.value.code == 2
