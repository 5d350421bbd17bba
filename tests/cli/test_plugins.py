"""`voki-bots plugins`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretStr

from voki_bots.bots.plugin import PluginSettings
from voki_bots.bots.registry import Offer
from voki_bots.cli.plugins import _settings


class Sample(PluginSettings):
    """Settings of many kinds."""

    where: Path | None = Field(default=None, description="the folder")
    how: str
    often: int = 3
    names: list[str] = Field(default_factory=list)
    keep: Annotated[float, Field(gt=0)] = 1.5
    key: SecretStr = SecretStr("hidden from view")


@pytest.fixture
def broken_package(install: Callable[..., None]) -> None:
    """An installed package whose plugin cannot be imported."""
    install("sad", "[voki_bots.plugins]\nsad = no_such_module:Sad\n")


def test_the_recorder_is_listed(voki_bots: Any) -> None:
    """Name, package, summary."""
    found = {each["name"]: each for each in json.loads(voki_bots("plugins", "--json").stdout)}
    assert (found["recorder"]["package"].split()[0], found["recorder"]["broken"]) == (
        "voki-bots-recorder",
        False,
    )


def test_settings_are_listed_with_type_and_default(voki_bots: Any) -> None:
    """For people: each setting on a line."""
    assert "directory: Path | None, default none" in voki_bots("plugins", "recorder").stdout


@pytest.mark.usefixtures("broken_package")
def test_a_broken_plugin_says_why(voki_bots: Any) -> None:
    """It is listed with the reason, and the others still are."""
    found = {each["name"]: each for each in json.loads(voki_bots("plugins", "--json").stdout)}
    assert ("no_such_module" in found["sad"]["summary"], "recorder" in found) == (True, True)


def test_an_unknown_plugin_is_usage(voki_bots: Any) -> None:
    """The installed ones are named."""
    said = voki_bots("plugins", "nonsense")
    assert (said.exit_code, "recorder" in said.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "type_", "default", "required"),
    [
        ("where", "Path | None", None, False),
        ("how", "str", None, True),
        ("often", "int", 3, False),
        ("names", "list[str]", [], False),
        ("keep", "float", 1.5, False),
        ("key", "SecretStr", "**********", False),
    ],
)
def test_a_setting_is_described(name: str, type_: str, default: object, required: bool) -> None:
    """Its type as one reads it, its default as TOML would have it, and never a secret."""
    found = {each["name"]: each for each in _settings(Offer("x", "x 1", "", False, Sample))}[name]
    assert (found["type"], found["default"], found["required"]) == (type_, default, required)
