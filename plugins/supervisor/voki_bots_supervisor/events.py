"""What other plugins may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from voki_bots import PluginEvent


@dataclass(frozen=True, slots=True)
class WhisperAsked(PluginEvent):
    """Somebody wants the attendant to be told something; publish it to have it whispered or shown.

    Attributes:
        text: What they are told.
        by: Who wants it, for the journal.
    """

    text: str
    by: str = ""
