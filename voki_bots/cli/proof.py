"""What a recording is worth: each voice on its own track, and nobody else's, judged by content."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voki_bots.testing.sim import SimCall

LIKE = 0.99
"""What a track must correlate with the voice that is said to be on it."""

UNLIKE = 0.3
"""What it may correlate with another voice at most."""

LEAST = 1.0
"""Seconds of a voice below which nothing is proved."""

_RATE = 16_000  # enough to tell voices apart, at a third of the work of 48 kHz


@dataclass(slots=True)
class Proof:
    """What one track was found to hold.

    Attributes:
        participant: Whose track it is said to be.
        role: Their role.
        path: The file.
        seconds: What it decodes to.
        correlation: With what that participant sent, 0 to 1.
        cross: The highest with what anybody else sent.
    """

    participant: str
    role: str
    path: str
    seconds: float
    correlation: float
    cross: float

    @property
    def ok(self) -> bool:
        """Whether the track holds this voice and no other."""
        return self.correlation >= LIKE and self.cross < UNLIKE and self.seconds >= LEAST


@dataclass(slots=True)
class Caption:
    """One utterance as it was understood.

    Attributes:
        participant: Who said it, as the transcript has it.
        role: Their role.
        start: Seconds of call time.
        text: What was understood.
        said: What was really said, as far as one can tell.
        meaning: That in English, where it is in another language.
        likeness: Of the two, without spaces, 0 to 1.
    """

    participant: str
    role: str
    start: float
    text: str
    said: str
    meaning: str
    likeness: float


@dataclass(slots=True)
class Report:
    """What came of a demo."""

    ok: bool = False
    recordings: list[Proof] = field(default_factory=list)
    first_frame_seconds: float | None = None
    problems: list[str] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    directory: str = ""

    def as_json(self) -> str:
        """One line of JSON; the first three names stay as they are (see the README)."""

        def rounded(value: Any) -> Any:
            if isinstance(value, float):
                return round(value, 4)
            if isinstance(value, dict):
                return {name: rounded(one) for name, one in value.items()}
            return [rounded(one) for one in value] if isinstance(value, list) else value

        return json.dumps(rounded(asdict(self)))


async def prove(call: SimCall, sidecar: dict[str, Any], directory: Path) -> list[Proof]:
    """Compare every recorded track with what everybody sent.

    Args:
        call: The sandbox's call; it kept the packets that each person sent.
        sidecar: What the bot wrote about the call.
        directory: The call's folder.
    """
    with tempfile.TemporaryDirectory() as aside:
        sent = {
            person.name: await call.sent(person, Path(aside) / f"{number}.opus")
            for number, person in enumerate(call.people)
        }
        return await asyncio.to_thread(_compare, sent, sidecar, directory)


def _compare(sent: dict[str, Path], sidecar: dict[str, Any], directory: Path) -> list[Proof]:
    from voki_bots.testing.signals import correlation, decode

    voices = {name: decode(path, _RATE) for name, path in sent.items()}
    names = {person["id"]: person["name"] for person in sidecar["participants"]}
    proofs = []
    for track in sidecar["tracks"]:
        if not track["file"]:
            continue
        path = directory / track["file"]
        heard = decode(path, _RATE)
        owner = names.get(track["participant"], "unknown")
        like = {name: correlation(heard, voice) for name, voice in voices.items()}
        own = like.pop(owner, 0.0)
        cross = max(like.values(), default=0.0)
        proofs.append(Proof(owner, track["role"], str(path), len(heard) / _RATE, own, cross))
    return proofs
