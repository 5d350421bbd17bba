"""Entry points → checked, configured plugins."""

import pytest
from pydantic import Field

from voki_bots.bots.plugin import Plugin, PluginSettings
from voki_bots.bots.registry import Registry
from voki_bots.errors import ConfigurationError, PluginNotFoundError


class BellSettings(PluginSettings):
    times: int = Field(default=1, ge=1)
    loud: bool = False


class Bell(Plugin[BellSettings]):
    """Ring."""


REGISTRY = Registry({"bell": Bell})


def test_a_plugin_gets_its_typed_settings() -> None:
    """The settings model is the type argument of the class."""
    bell = REGISTRY.build("bell", {"times": 3})
    assert (bell.name, bell.settings) == ("bell", BellSettings(times=3))


def test_an_unknown_plugin_names_the_known_ones() -> None:
    """Asking for what is not installed says what is."""
    with pytest.raises(PluginNotFoundError, match="no plugin is called 'bel'; installed: .*bell"):
        REGISTRY.build("bel", {})


def test_every_mistake_is_reported_with_its_path() -> None:
    """A mistyped name and a wrong value are both told, without the value."""
    with pytest.raises(ConfigurationError) as caught:
        REGISTRY.build("bell", {"tims": 3, "times": 0}, path="bots.0.bell")
    assert sorted(str(caught.value).split("\n")) == [
        "bots.0.bell.times: input should be greater than or equal to 1",
        "bots.0.bell.tims: there is no such setting",
    ]


def test_the_bundled_recorder_is_installed() -> None:
    """The recorder is found by its entry point, like any other package's plugin."""
    assert "recorder" in {offer.name for offer in Registry().offers() if not offer.broken}
