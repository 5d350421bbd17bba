"""What the tests of the examples share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voki_bots import Bot
from voki_bots.cli.running import load_bots

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """The files of ``examples/``, loaded as `voki-bots run` loads them."""

    path = EXAMPLES

    def bot(self, name: str) -> Bot:
        """The one bot that a file makes."""
        (bot,) = load_bots(EXAMPLES / name)
        return bot

    def journal(self, directory: Path, type_: str) -> list[dict[str, Any]]:
        """The lines of one type in a call's journal."""
        lines = (directory / "events.jsonl").read_text("utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line["type"] == type_]


@pytest.fixture
def example() -> Example:
    """The examples."""
    return Example()
