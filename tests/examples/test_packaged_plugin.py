"""``examples/packaged_plugin`` is found once it is installed, and its own test passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voki_bots import Bot
from voki_bots.bots.registry import Registry

if TYPE_CHECKING:
    from voki_bots.testing.sim import Sim


@pytest.fixture
def installed(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package's module and entry points on ``sys.path``, as pip lays them out."""
    package = example.path / "packaged_plugin"
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site"
    about = site / f"voki_bots_dead_air-{project['version']}.dist-info"
    about.mkdir(parents=True)
    shutil.copy(package / "voki_bots_dead_air.py", site)
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["voki_bots.plugins"]
    lines = [f"{name} = {where}" for name, where in points.items()]
    about.joinpath("entry_points.txt").write_text("[voki_bots.plugins]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("voki_bots_dead_air", None)


def test_it_is_found_by_its_entry_point(installed: Path) -> None:
    """The registry offers it with its package and the first line of its docstring."""
    (offer,) = [offer for offer in Registry().offers() if offer.name == "dead_air"]
    assert (offer.package, offer.summary) == (
        "voki-bots-dead-air 0.1.0",
        "Tell the attendant when nobody has spoken for a while.",
    )


def test_its_own_test_passes(installed: Path, example: Any) -> None:
    """The test beside the package is run as its author runs it."""
    tests = example.path / "packaged_plugin" / "tests" / "test_dead_air.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.journey
async def test_it_tells_of_silence_in_a_whole_call(sim: Sim, installed: Path, example: Any) -> None:
    """Two people who send nothing but silence are noticed."""
    call = await sim.call(
        {"role": "attendant", "speech": None},
        {"role": "customer", "speech": None},
    )
    bot = Bot("nobody-there").use("dead_air", seconds=1.0)
    async with sim.attend(call, bot) as session:
        await call.heard_by_bots(packets=150)
    assert example.journal(session.directory, "dead_air_heard")
