"""`voki-bots run`: calls are found, attended and left; three ways to write the same bot."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Program, environment, journal, program, sidecar
from voki_bots.archive.seal import list_calls, verify
from voki_bots.testing.sim import Sim, SimCall

PLUGIN = '''
"""Count packets: a plugin package of one file."""

from contextlib import asynccontextmanager

from voki_bots import Plugin, PluginSettings


class CounterSettings(PluginSettings):
    """How to count."""

    step: int = 50


class Counter(Plugin[CounterSettings]):
    """Journal every so many packets of a call."""

    @asynccontextmanager
    async def attend(self, call):
        counted = 0

        def count(packet):
            nonlocal counted
            counted += 1

        with call.packets(count) as listening:
            yield
            await listening.drain()
        call.journal("counted", at_least_one_step=counted >= self.settings.step)
'''

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "counter-of-packets"
version = "1.0"

[project.entry-points."voki_bots.plugins"]
counter = "counter_of_packets:Counter"

[tool.hatch.build.targets.wheel]
include = ["counter_of_packets.py"]
"""

AS_TOML = """
[service]
port = 0
poll = 0.5

[archive]
directory = "{out}"

[[bots]]
name = "minutes"
join = {{ departments = ["{department}"] }}
plugins = ["recorder", "counter"]

[bots.counter]
step = 25
"""

AS_PYTHON = """
from voki_bots import Bot, Rule

bot = Bot("minutes", join=Rule(departments=["{department}"]))
bot.record(directory="{out}").use("counter", step=25)
"""

AS_CLASS = """
from counter_of_packets import Counter

from voki_bots import Bot, Rule

bot = Bot("minutes", join=Rule(departments=["{department}"]))
bot.use("recorder", directory="{out}").use(Counter, step=25)

if __name__ == "__main__":
    bot.run()
"""

SERVICE = "[service]\nport = 0\npoll = 0.5\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, installed by pip into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "counter_of_packets.py").write_text(PLUGIN)
    (source / "pyproject.toml").write_text(PYPROJECT)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


async def attended(sim: Sim, bot: Program, call: SimCall) -> None:
    """Let a running service attend a call from its beginning to its end."""
    await bot.logged("attending", call=call.id)
    await call.heard_by_bots(100)
    await call.end("completed")
    await bot.logged("attended", call=call.id)


async def play(sim: Sim, package: Path, text: str, suffix: str, out: Path) -> Path:
    """Run a bot's file as a service, let it attend one call, and stop it; gives the call's folder."""
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    call = await sim.call(department_id=department)
    file = out.with_suffix(suffix)
    file.write_text(text.format(out=out, department=department))
    config = out.with_suffix(".service.toml")
    config.write_text(SERVICE)
    arguments = ["run", str(file), *([] if suffix == ".toml" else ["--config", str(config)])]
    async with program(*arguments, env=environment(await sim.user(), PYTHONPATH=str(package))) as bot:
        await attended(sim, bot, call)
        bot.process.send_signal(signal.SIGTERM)
        assert await bot.ended() == 0
    (folder,) = [listed.directory for listed in list_calls(out)]
    return folder


def story(folder: Path) -> list[dict[str, Any]]:
    """A journal without what differs from call to call."""
    lines = []
    for line in journal(folder):
        if line["type"] == "gap_found" and line["cause"] != "late_join":
            continue  # how the last packets met the call's end
        told = {name: line[name] for name in ("type", "plugin", "path", "at_least_one_step") if name in line}
        lines.append(told)
    return sorted(lines, key=repr)


async def test_three_ways_are_one_engine(sim: Sim, package: Path, tmp_path: Path) -> None:
    """The same bot as TOML, as Python and by a package's class gives the same journal and files."""
    ways = ((AS_TOML, ".toml"), (AS_PYTHON, ".py"), (AS_CLASS, ".py"))
    folders = [
        await play(sim, package, textwrap.dedent(text), suffix, tmp_path / f"way{number}")
        for number, (text, suffix) in enumerate(ways)
    ]
    stories = [story(folder) for folder in folders]
    files = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert {"type": "counted", "plugin": "counter", "at_least_one_step": True} in stories[0]
    assert stories[0] == stories[1] == stories[2]
    assert files[0] == files[1] == files[2]
    assert [verify(folder) for folder in folders] == [[], [], []]


async def test_sigterm_ends_a_running_call_cleanly(sim: Sim, package: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle of a call: it is left, sealed and verifies; the exit status is 0."""
    department = str((await sim.control("POST", "/departments", {}))["department_id"])
    call = await sim.call(department_id=department)
    file, out = tmp_path / "bots.toml", tmp_path / "calls"
    file.write_text(AS_TOML.format(out=out, department=department))
    async with program("run", str(file), env=environment(await sim.user(), PYTHONPATH=str(package))) as bot:
        await bot.logged("attending", call=call.id)
        await call.heard_by_bots(50)
        bot.process.send_signal(signal.SIGTERM)
        assert await bot.ended() == 0
    (listed,) = list_calls(out)
    assert (sidecar(listed.directory)["reason"], verify(listed.directory)) == ("the service stops", [])
