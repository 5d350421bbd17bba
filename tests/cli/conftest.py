"""The program, run in this process with an environment of its own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from voki_bots.cli.main import app

Program = Callable[..., Result]


@pytest.fixture(autouse=True)
def usual_logs() -> Iterator[None]:
    """Commands configure logging for their own process; here it is put back."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def voki_bots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Run ``voki-bots`` with arguments, in an empty directory, without VOKI_… but what is given."""
    for name in [name for name in os.environ if name.startswith("VOKI_")]:
        monkeypatch.delenv(name)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments: object, **environment: str) -> Result:
        return CliRunner(env=environment).invoke(app, [str(each) for each in arguments])

    return run


@pytest.fixture
def account() -> dict[str, str]:
    """An account at a port where nobody listens."""
    return {
        "VOKI_URL": "http://127.0.0.1:1",
        "VOKI_TENANT": "acme",
        "VOKI_EMAIL": "bots@acme.example",
        "VOKI_PASSWORD": "a-password-that-nobody-may-see",
    }


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a package with these entry points, and modules by name, where Python finds it."""
    site = tmp_path / "site"

    def put(name: str, points: str, **modules: str) -> None:
        there = site / f"{name}-1.0.dist-info"
        there.mkdir(parents=True)
        (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (there / "entry_points.txt").write_text(points)
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(site)

    return put
