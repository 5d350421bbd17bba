"""`voki-bots doctor`, as far as it goes without a platform."""

import json
from pathlib import Path
from typing import Any

from voki_bots.bots.account import Credentials
from voki_bots.cli import checks


def findings(said: Any) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in json.loads(said.stdout)}


def test_an_unreachable_platform_is_code_4(voki_bots: Any, account: dict[str, str]) -> None:
    """The rest is fine, the platform is not, and there is something to do about it."""
    said = voki_bots("doctor", "--json", **account)
    states = {name: each["state"] for name, each in findings(said).items()}
    assert (said.exit_code, states) == (
        4,
        {
            "versions": "ok",
            "libopus": "ok",
            "configuration": "ok",
            "account": "ok",
            "disk": "ok",
            "platform": "failed",
        },
    )


def test_every_problem_of_the_configuration_is_a_line(voki_bots: Any, account: dict[str, str]) -> None:
    """Each with its path; the code is that of configuration."""
    Path("b.toml").write_text('[service]\nporto = 1\n[[bots]]\nname = "a"\nplugins = ["nonsense"]\n')
    said = voki_bots("doctor", "--config", "b.toml", **account | {"VOKI_URL": "nonsense"})
    lines = [line for line in said.stdout.splitlines() if line.startswith("failed   configuration")]
    assert (said.exit_code, len(lines)) == (2, 3)


def test_a_missing_password_is_told(voki_bots: Any, account: dict[str, str]) -> None:
    """Then the platform is not asked."""
    said = voki_bots("doctor", **{k: v for k, v in account.items() if k != "VOKI_PASSWORD"})
    assert (said.exit_code, "VOKI_PASSWORD" in said.stdout, "not asked" in said.stdout) == (2, True, True)


def test_no_secret_is_shown(voki_bots: Any, account: dict[str, str]) -> None:
    """Whatever is checked, the password is not printed."""
    said = voki_bots("doctor", **account)
    assert account["VOKI_PASSWORD"] not in said.output


def test_an_unwritable_directory_is_told(voki_bots: Any, account: dict[str, str]) -> None:
    """With what to do."""
    Path("file").touch()
    Path("b.toml").write_text('[archive]\ndirectory = "file/takes"\n')
    disk = findings(voki_bots("doctor", "--json", "--config", "b.toml", **account))["disk"]
    assert (disk["state"], disk["code"], bool(disk["advice"])) == ("failed", 2, True)


async def test_advice_comes_with_every_failure() -> None:
    """Whoever reads `failed` reads what to do next."""
    credentials = Credentials("http://127.0.0.1:1", "acme", "a@b", lambda: "secret")
    found = [finding async for finding in checks.platform(credentials)]
    assert [(each.state, bool(each.advice)) for each in found] == [("failed", True)]
