"""The transcriber plugin: live captions of every participant, by role.

The names are fetched when they are used, for the recognition process needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voki_bots_transcriber.settings import TranscriberSettings
    from voki_bots_transcriber.transcriber import Transcriber

__all__ = ["Transcriber", "TranscriberSettings"]

_HOMES = {"Transcriber": "transcriber", "TranscriberSettings": "settings"}


def __getattr__(name: str) -> object:
    """Fetch a name from its module (PEP 562)."""
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
