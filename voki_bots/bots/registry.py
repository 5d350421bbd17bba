"""Entry points → checked, configured plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from voki_bots.bots.plugin import ENTRY_POINTS, Plugin
from voki_bots.errors import ConfigurationError, PluginLoadError, PluginNotFoundError


@dataclass(frozen=True, slots=True)
class Offer:
    """One installed plugin, for ``voki-bots plugins``.

    Attributes:
        name: As it is used in a bot's list.
        package: The distribution it comes from, with its version.
        summary: First line of its docstring, or why it cannot be loaded.
        broken: True if it cannot be loaded.
        settings: Its settings model, or None if broken.
    """

    name: str
    package: str
    summary: str
    broken: bool
    settings: type[BaseModel] | None


class Registry:
    """The plugins that are installed, found by entry point and loaded on demand.

    Args:
        extra: Plugins given by class, for tests and for the bots of one file.
    """

    def __init__(self, extra: Mapping[str, type[Plugin[Any]]] | None = None) -> None:
        self._extra = dict(extra or {})
        self._points: dict[str, EntryPoint] = {
            point.name: point for point in entry_points(group=ENTRY_POINTS)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that can be used, sorted."""
        return tuple(sorted({*self._points, *self._extra}))

    def load(self, name: str, *, path: str = "") -> type[Plugin[Any]]:
        """Import the plugin of this name.

        Args:
            name: Its entry point.
            path: Where in the configuration it was asked for.

        Raises:
            PluginNotFoundError: If no package offers it.
            PluginLoadError: If its package cannot be imported, or what it names is no plugin.
        """
        if name in self._extra:
            return self._extra[name]
        point = self._points.get(name)
        if point is None:
            raise PluginNotFoundError(name, self.names, path=path)
        try:
            loaded = point.load()
        except Exception as error:  # a plugin's import may raise anything
            raise PluginLoadError(name, f"{type(error).__name__}: {error}", path=path) from error
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin)):
            raise PluginLoadError(name, f"{point.value} is not a subclass of voki_bots.Plugin", path=path)
        return loaded

    def build(self, name: str, settings: Mapping[str, Any], *, path: str = "") -> Plugin[Any]:
        """Make a configured plugin.

        Raises:
            ConfigurationError: With every mistaken setting and its path in the message.
        """
        return configure(self.load(name, path=path), name, settings, path=path)

    def offers(self) -> list[Offer]:
        """Describe everything that is installed, broken ones included."""
        return [self._offer(name) for name in self.names]

    def _offer(self, name: str) -> Offer:
        point = self._points.get(name)
        package = f"{point.dist.name} {point.dist.version}" if point and point.dist else "(this program)"
        try:
            plugin = self.load(name)
        except PluginLoadError as error:
            return Offer(name, package, str(error), True, None)
        summary = (plugin.__doc__ or "").strip().split("\n")[0]
        return Offer(name, package, summary, False, plugin.Settings)


def configure(
    plugin: type[Plugin[Any]], name: str, settings: Mapping[str, Any], *, path: str = ""
) -> Plugin[Any]:
    """Validate a plugin's settings and make it; see `Registry.build`."""
    try:
        validated = plugin.Settings.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigurationError("\n".join(problems(error, path or name)), path=path or name) from None
    return plugin(validated, name=name)


def problems(error: ValidationError, path: str) -> list[str]:
    """Turn a validation error into one line per problem: ``path: what is wrong``.

    The offending value is left out: it may be a secret.
    """
    lines = []
    for entry in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join([path, *(str(part) for part in entry["loc"])]).strip(".")
        what = entry["msg"]
        if entry["type"] == "extra_forbidden":
            what = "there is no such setting"
        what = what.removeprefix("Value error, ")
        lines.append(f"{where}: {what[0].lower()}{what[1:]}")
    return lines
