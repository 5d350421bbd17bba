"""What was kept from a recording, and by whose wish, in words. Pure; it reads sidecars.

A sidecar may come from anybody: what it says is made fit for a terminal by `shown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from voki_bots.cli.text import clock, shown

NO_CONSENT = "no consent"


@dataclass(frozen=True, slots=True)
class Withheld:
    """A span of call time (seconds, `end` exclusive) that is silent on purpose, and why."""

    start: float
    end: float
    why: str

    def __str__(self) -> str:
        return f"{self.start:8.2f} – {self.end:8.2f} s  {self.why}"

    def within(self, start: float, end: float) -> Withheld | None:
        """The part of it that is in a stretch, or None."""
        low, high = max(self.start, start), min(self.end, end)
        return Withheld(low, high, self.why) if high > low else None


def withheld(sidecar: Mapping[str, Any]) -> list[Withheld]:
    """Everything that was withheld, in order of time: pauses, each actor's own, and missing consent."""
    duration = float(sidecar.get("duration") or 0.0)
    found = [
        Withheld(float(mask["start"]), float(duration if mask["end"] is None else mask["end"]), _paused(mask))
        for mask in sidecar.get("masks", [])
    ]
    gaps = [
        (float(gap["start"]), float(gap["end"]))
        for track in sidecar.get("tracks", [])
        for gap in track["gaps"]
        if gap["cause"] == "no_consent"
    ]
    found += [Withheld(start, end, NO_CONSENT) for start, end in _united(gaps)]
    return sorted(found, key=lambda each: (each.start, each.end))


def refusing(sidecar: Mapping[str, Any]) -> list[str]:
    """Whose last word was that they do not agree."""
    last = {str(each["by"]): each.get("given", True) for each in sidecar.get("consents", [])}
    return [by for by, given in last.items() if not given]


def state(sidecar: Mapping[str, Any]) -> list[str]:
    """Say in short what was withheld, for a table; nothing if nothing was."""
    spans = withheld(sidecar)
    said = []
    for name, some in (
        ("paused", [each for each in spans if each.why != NO_CONSENT]),
        (NO_CONSENT, [each for each in spans if each.why == NO_CONSENT]),
    ):
        if seconds := sum(end - start for start, end in _united((each.start, each.end) for each in some)):
            said.append(f"{name} for {clock(seconds)}")
    return [*said, "refused"] if refusing(sidecar) else said


def words(sidecar: Mapping[str, Any]) -> list[str]:
    """Say in full what was withheld, what was announced and who answered, a line each."""
    lines = [f"silent  {each}" for each in withheld(sidecar)]
    for each in sidecar.get("announcements", []):
        to = ", ".join(map(shown, each["to"])) or "nobody whose name is known"
        lines.append(f"told    {each['start']:8.2f} – {each['end']:8.2f} s  {shown(each['prompt'])}, to {to}")
    for each in sidecar.get("consents", []):
        word = "agreed" if each.get("given", True) else "refused"
        others = [shown(one) for one in each.get("of", []) if one != each["by"]]
        counts = f", for {', '.join(others)}" if others else ""
        lines.append(f"{word:<7} {each['at']:8.2f} s  {shown(each['by'])}{counts}: {shown(each['how'])}")
    if refused := refusing(sidecar):
        lines.append(f"nothing more is recorded: {', '.join(map(shown, refused))} refused")
    return lines


def _paused(mask: Mapping[str, Any]) -> str:
    said = f"paused by {shown(mask['actor'])}"
    said += f" ({shown(mask['reason'])})" if mask.get("reason") else ""
    return f"{said}, ended by {shown(mask['resumed_by'])}" if mask.get("resumed_by") else said


def _united(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put spans that touch together."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
