"""``voki-bots plugins``: what bots can do here."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from voki_bots.cli.text import shown
from voki_bots.errors import PluginNotFoundError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from voki_bots.bots.registry import Offer


def plugins(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this one.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List the installed plugins and their settings.

    A plugin is used by its name in a bot's list, and configured by a table of that name. One that cannot be
    loaded is listed with the reason.
    """
    from voki_bots.bots.registry import Registry

    registry = Registry()
    found = [offer for offer in registry.offers() if name in (None, offer.name)]
    if name is not None and not found:
        raise PluginNotFoundError(name, registry.names, path="NAME")
    if as_json:
        typer.echo(json.dumps([_as_json(offer) for offer in found], ensure_ascii=False))
        return
    if not found:
        typer.echo("no plugins are installed; the recorder is in the package voki-bots-recorder")
    for offer in found:
        _print(offer)


def _print(offer: Offer) -> None:
    state = typer.style("  cannot be loaded", fg="red") if offer.broken else ""
    typer.echo(f"{typer.style(shown(offer.name), bold=True)}  {shown(offer.package)}{state}")
    typer.echo(f"    {shown(offer.summary)}")
    for setting in _settings(offer):
        value = "none" if setting["default"] is None else json.dumps(setting["default"], ensure_ascii=False)
        default = "required" if setting["required"] else f"default {value}"
        typer.echo(f"    {setting['name']}: {setting['type']}, {default}")
        if setting["description"]:
            typer.echo(f"        {shown(setting['description'])}")
    typer.echo("")


def _as_json(offer: Offer) -> dict[str, Any]:
    return {
        "name": offer.name,
        "package": offer.package,
        "summary": offer.summary,
        "broken": offer.broken,
        "settings": _settings(offer),
    }


def _settings(offer: Offer) -> list[dict[str, Any]]:
    if offer.settings is None:
        return []
    return [_setting(name, field) for name, field in offer.settings.model_fields.items()]


def _setting(name: str, field: FieldInfo) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return {
        "name": field.alias or name,
        "type": _type(field.annotation),
        "required": field.is_required(),
        "default": to_jsonable_python(default, fallback=str),
        "description": field.description or "",
    }


def _type(annotation: object) -> str:
    """Name a type as a reader of TOML understands it: ``pathlib.Path | None`` is ``Path | None``."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b\w+\.", "", shown(annotation))
