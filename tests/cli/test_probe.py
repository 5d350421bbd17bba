"""`voki-bots probe`: what it refuses, and a whole probe with what it writes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import environment, program
from voki_bots.bots.profile import CapabilityProfile
from voki_bots.testing.sim import SandboxProcess, Sim

WAY = '[supervision]\nby = "rest"\npath = "/api/v1/calls/{call}/supervise"\n'
PROBE = """
[probe]
test_departments = ["d7"]
link = "a-link"
attendant = { email = "ana@acme.example", password_file = "ana" }
supervisor = { email = "marina@acme.example", password_file = "marina" }
"""


def write(text: str, *, url: str = "http://127.0.0.1:1") -> None:
    """A configuration in the working directory, with a password for each account."""
    Path("probe.toml").write_text(f'[voki]\nurl = "{url}"\ntenant = "acme"\n{text}')
    for name in ("ana", "marina"):
        Path(name).write_text("a-password-that-nobody-may-see\n")


def probe(voki_bots: Any, *options: str, department: str = "d7") -> Any:
    """Run it."""
    return voki_bots("probe", "--department", department, "--config", "probe.toml", *options)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PROBE, "the table [supervision] is missing"),
        (WAY, "the table [probe] is missing"),
        (WAY + PROBE.replace("supervisor", "superviser"), "probe.supervisor"),
        (WAY + PROBE.replace('"ana" }', '"none" }'), "none"),
        (WAY + PROBE.replace("marina@", "ana@"), "must be two accounts"),
        (WAY + PROBE.replace('link = "a-link"', ""), "--link"),
        (WAY + PROBE.replace('["d7"]', "[]"), "not named as one for tests"),
        (WAY + PROBE.replace('["d7"]', '"d7"'), "probe.test_departments"),
    ],
)
def test_a_mistaken_configuration_ends_with_2(voki_bots: Any, text: str, why: str) -> None:
    """Before anything connects."""
    write(text)
    said = probe(voki_bots)
    assert (said.exit_code, why in said.stderr) == (2, True)


def test_a_department_that_is_not_named_is_refused_with_what_to_do(voki_bots: Any) -> None:
    """Nobody probes a department of customers by a slip."""
    write(WAY + PROBE)
    said = probe(voki_bots, department="support")
    assert (said.exit_code, "[probe] test_departments = " in said.stderr) == (2, True)


def test_there_is_no_probe_without_a_department(voki_bots: Any) -> None:
    """It is never guessed."""
    write(WAY + PROBE)
    assert voki_bots("probe", "--config", "probe.toml").exit_code == 2


@pytest.mark.parametrize("options", [("--mode", "hint"), ("--output", "nowhere/profile.toml")])
def test_a_mistaken_option_ends_with_2(voki_bots: Any, options: tuple[str, ...]) -> None:
    """And names it."""
    write(WAY + PROBE)
    said = probe(voki_bots, *options)
    assert (said.exit_code, options[0] in said.stderr) == (2, True)


def test_a_platform_that_is_not_there_ends_with_4(voki_bots: Any) -> None:
    """No secret is in what is said."""
    write(WAY + PROBE)
    said = probe(voki_bots)
    assert (said.exit_code, "nobody-may-see" in said.output, "a-link" in said.output) == (4, False, False)


def test_help_says_what_it_does_to_the_platform(voki_bots: Any) -> None:
    """That it makes a real call, and records nothing."""
    said = " ".join(voki_bots("probe", "--help").stdout.split())
    assert ("It makes a real call" in said, "Nothing is recorded" in said) == (True, True)


# ---------------------------------------------------------------- with a platform


async def prepared(sandbox: SandboxProcess, directory: Path) -> Mapping[str, str]:
    """Write a configuration for a new department of the sandbox; gives its id, and its link."""
    async with Sim(sandbox, directory) as sim:
        made = await sim.control("POST", "/departments", {"switches": {"supervise_by_rest": True}})
        users = [await sim.user(role, role) for role in ("attendant", "supervisor")]
    for user, name in zip(users, ("ana", "marina"), strict=True):
        (directory / name).write_text(user.password())
    text = PROBE.replace("ana@acme.example", users[0].email).replace("marina@acme.example", users[1].email)
    text = text.replace('"ana"', f'"{directory / "ana"}"').replace('"marina"', f'"{directory / "marina"}"')
    text = text.replace("d7", made["department_id"]).replace(
        "a-link", f"https://voki.example/call/{made['token']}"
    )
    voki = f'[voki]\nurl = "{sandbox.url}"\ntenant = "{sandbox.ready["tenant"]}"\n'
    (directory / "probe.toml").write_text(voki + WAY + text)
    return {"department": made["department_id"], "token": made["token"]}


@pytest.mark.journey
def test_a_probe_writes_what_it_found(voki_bots: Any, voki_sandbox: SandboxProcess, tmp_path: Path) -> None:
    """As TOML for the operator, and as JSON on standard output; of the call itself nothing is left."""
    made = asyncio.run(prepared(voki_sandbox, tmp_path))
    options = ("--config", tmp_path / "probe.toml", "--mode", "whisper", "-o", "profile.toml", "--json")
    said = voki_bots("probe", "--department", made["department"], *options)
    assert said.exit_code == 0, said.output
    found = CapabilityProfile.from_toml(Path("profile.toml").read_text())
    assert found == CapabilityProfile.model_validate(json.loads(said.stdout))
    assert found.whisper is not None and found.whisper.routes_as_documented
    assert "whisper: routes as documented" in said.stderr
    assert [path.name for path in Path().iterdir()] == ["profile.toml"]
    assert made["token"] not in said.output + Path("profile.toml").read_text()


@pytest.mark.journey
def test_an_account_that_is_refused_ends_with_3(
    voki_bots: Any, voki_sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Its password is wrong."""
    made = asyncio.run(prepared(voki_sandbox, tmp_path))
    (tmp_path / "marina").write_text("wrong")
    said = voki_bots("probe", "--department", made["department"], "--config", tmp_path / "probe.toml")
    assert (said.exit_code, "Invalid credentials" in said.stderr) == (3, True)


@pytest.mark.journey
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_probe_ends_its_call(
    voki_sandbox: SandboxProcess, tmp_path: Path, number: signal.Signals
) -> None:
    """By Ctrl-C or SIGTERM: nobody is left waiting in a queue."""
    made = await prepared(voki_sandbox, tmp_path)
    async with Sim(voki_sandbox, tmp_path) as sim, sim.account() as account:
        env = environment(await sim.user())
        arguments = ("--department", made["department"], "--config", str(tmp_path / "probe.toml"), "--json")
        async with program("probe", *arguments, env=env) as running:
            async with asyncio.timeout(30.0):
                while not any("media are up: the customer" in str(line) for line in running.lines):
                    await running.changed()
            running.process.send_signal(number)
            status = await running.ended()
        calls = [c for c in await account.calls() if c.department_id == made["department"]]
    assert (status, [call.over for call in calls]) == (130, [True])
