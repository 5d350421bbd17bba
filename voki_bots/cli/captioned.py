"""The captions of the demo: which model makes them, and what was understood of what was really said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voki_bots.bots.plugin import ENTRY_POINTS
from voki_bots.cli.proof import Caption
from voki_bots.cli.text import clock, shown
from voki_bots.errors import ModelError

UNDERSTOOD = 0.6
"""What the captions of a voice must be alike to what it said, on average."""


def captioned(language: str, model: str | None, console: Console) -> Mapping[str, Any] | None:
    """Give the transcriber's settings; None, after saying why, if there can be no captions.

    Raises:
        ModelError: If a model was asked for that is not there.
    """
    from voki_bots.speech_models import find_model

    try:
        found = find_model(model, language=language)
    except ModelError as error:
        if model is not None:
            raise
        console.print(
            f"No captions: {error}. Or give a model of your own: --language {language} --model PATH"
        )
        return None
    if "transcriber" not in {point.name for point in entry_points(group=ENTRY_POINTS)}:
        console.print("No captions: the transcriber is not installed; run: pip install voki-bots-transcriber")
        return None
    console.print(f"Captions by {found.engine} with the model {shown(found.name)}; loading it …")
    return {"model": str(found.path), "language": language, "warm": 0}


def judge_captions(directory: Path, language: str, problems: list[str]) -> list[Caption]:
    """Compare the transcript in a call's folder with what the sandbox's people can have said."""
    known = _known(language)
    try:
        lines = (directory / "transcript.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    captions = [_caption(line, known) for each in lines if (line := json.loads(each))["type"] == "utterance"]
    voices = {(each.role, each.participant) for each in captions}
    for role, name in sorted(voices):
        own = [each.likeness for each in captions if (each.role, each.participant) == (role, name)]
        if (mean := sum(own) / len(own)) < UNDERSTOOD:
            problems.append(f"{name or role} was not understood: captions are {mean:.2f} like what was said")
    if not captions:
        problems.append("nobody was understood: there are no captions")
    return captions


def print_captions(captions: Sequence[Caption], console: Console) -> None:
    """Show what was understood beside what was said."""
    if not captions:
        return
    table = Table("at", "participant", "role", "caption", "what was said", "in English", title="Captions")
    for each in captions:
        said = [shown(text, 80) for text in (each.participant, each.role, each.text, each.said, each.meaning)]
        table.add_row(clock(each.start), *said)
    console.print(table)


def _caption(line: Mapping[str, Any], known: Mapping[str, str]) -> Caption:
    text = str(line["text"])
    said = max(known, key=lambda phrase: _likeness(phrase, text), default="")
    return Caption(
        str(line["name"]),
        str(line["role"]),
        line["start"],
        text,
        said,
        known.get(said, ""),
        _likeness(said, text),
    )


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.replace(" ", ""), other.replace(" ", ""), autojunk=False).ratio()


def _known(language: str) -> dict[str, str]:
    """What the people of the sandbox say, with its meaning."""
    index = json.loads((files("voki_bots.sandbox") / "speech" / language / "index.json").read_text("utf-8"))
    return {str(entry["text"]): str(entry.get("english", "")) for entry in index.values()}
