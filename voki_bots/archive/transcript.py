"""The transcript of a call: its lines as they are written live, and what people read afterwards.

`transcript.jsonl` holds a line for each utterance and each span that was not recognised, in the order in
which they were known. Captions (WebVTT, SRT), text and JSON are made of it, in the order of the call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voki_bots.archive.redaction import Found
from voki_bots.calls import Participant, Role, Track, UtteranceHeard, Word
from voki_bots.media.encrypted import ENDING, Keys, decrypted

TRANSCRIPT = "transcript.jsonl"
"""The file that is written live. An encrypted one cannot be taken up again: further ones are numbered."""

VTT, SRT, TEXT, JSON = "captions.vtt", "captions.srt", "transcript.txt", "transcript.json"

CAPTIONS = (VTT, SRT, TEXT, JSON)
"""The files that are made of it."""

FACTS = ("tenant", "call", "engine", "model", "language")
"""What the first line says that is said again in `JSON`."""

VERSION = 1
"""The version of the shape of its lines, and of `JSON`."""

CUE_SECONDS = 6.0
CUE_CHARACTERS = 84
"""What people can read at once: two lines of 42 characters (BBC and Netflix agree on about that)."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """A span that was not recognised, in seconds of call time."""

    track: str
    start: float
    end: float
    cause: str


@dataclass(slots=True)
class Transcript:
    """What a transcript says.

    Attributes:
        facts: Of its first line: engine, model, language.
        utterances: Final ones, by their beginning.
        unheard: What was not recognised.
        redacted: What was kept back: (start, end) in seconds of call time, by track.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    utterances: list[UtteranceHeard] = field(default_factory=list)
    unheard: list[Unheard] = field(default_factory=list)
    redacted: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def transcript_line(heard: UtteranceHeard, redacted: Sequence[Found] = ()) -> dict[str, Any]:
    """Make a line of a final utterance.

    Args:
        heard: The utterance, as it may be kept.
        redacted: What was kept back of it; its spans are masked in the recording.
    """
    kept_back = [[each.kind, round(each.start, 3), round(each.end, 3)] for each in redacted]
    return {
        "type": "utterance",
        "id": heard.id,
        "track": None if heard.track is None else str(heard.track),
        "role": str(heard.role),
        "participant_id": heard.participant_id,
        "name": heard.name,
        "start": round(heard.start, 3),
        "end": round(heard.end, 3),
        "text": heard.text,
        "language": heard.language,
        "words": [[w.text, round(w.start, 3), round(w.end, 3), w.confidence] for w in heard.words],
        "late": heard.late,
        **({"redacted": kept_back} if kept_back else {}),
    }


def transcripts_in(directory: Path) -> list[Path]:
    """The files of a call that hold what was said, in order."""
    found = [directory / TRANSCRIPT, directory / (TRANSCRIPT + ENDING)]
    found += sorted(directory.glob(f"transcript-*.jsonl{ENDING}"))
    return [path for path in found if path.is_file() and not path.is_symlink()]


def read_transcript(directory: Path, keys: Keys | None = None) -> Transcript | None:
    """Read the transcript of a call, also one that a kill cut off; None if there is none.

    Lines that are not understood are passed over.

    Raises:
        ValueError: If it is encrypted, and not for these keys.
        OSError: If it cannot be read.
    """
    if not (paths := transcripts_in(directory)):
        return None
    found = Transcript()
    for path in paths:
        content = b"".join(decrypted(path, keys)) if path.suffix == ENDING else path.read_bytes()
        for raw in content.split(b"\n"):
            try:
                line = json.loads(raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict):
                _take(found, line)
    found.utterances.sort(key=lambda heard: (heard.start, heard.end, heard.id))
    return found


def attributed(utterances: Iterable[UtteranceHeard], sidecar: Mapping[str, Any]) -> list[UtteranceHeard]:
    """Give everybody what is theirs as it was known in the end, which may be later than it was said."""
    people = {str(each["id"]): each for each in sidecar.get("participants", ())}
    tracks = {str(each["id"]): each for each in sidecar.get("tracks", ())}
    made = []
    for heard in utterances:
        track = tracks.get(str(heard.track), {})
        person = people.get(str(track.get("participant")))
        if person is not None:
            role = Role.parse(person.get("role") or track.get("role"))
            who = Participant(str(person["id"]), str(person.get("name") or ""), role)
            heard = replace(heard, role=who.role, participant_id=who.id, name=who.name)
        made.append(heard)
    return made


def caption_files(utterances: Iterable[UtteranceHeard], facts: Mapping[str, Any]) -> dict[str, str]:
    """Make the content of each of `CAPTIONS`, by its name.

    Args:
        utterances: Final ones, in order.
        facts: What is said of them as a whole: engine, model, language.
    """
    said = list(utterances)
    return {VTT: webvtt(said), SRT: srt(said), TEXT: text(said), JSON: as_json(said, facts)}


def webvtt(utterances: Iterable[UtteranceHeard]) -> str:
    """Make WebVTT, with a voice (``<v Customer Kim>``) for each cue; people who talk at once overlap."""
    parts = ["WEBVTT\n"]
    for cue in _cues(utterances):
        said = _escaped(cue.text)
        span = f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}"
        parts.append(f"{cue.id}\n{span}\n<v {_escaped(cue.voice)}>{said}\n")
    return "\n".join(parts)


def srt(utterances: Iterable[UtteranceHeard]) -> str:
    """Make SubRip, with the speaker before each text."""
    parts = []
    for number, cue in enumerate(_cues(utterances), 1):
        span = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        parts.append(f"{number}\n{span}\n{_plain(cue.voice)}: {_plain(cue.text)}\n")
    return "\n".join(parts)


def text(utterances: Iterable[UtteranceHeard]) -> str:
    """Make text to be read, a line for each utterance."""
    return "".join(f"[{_clock(h.start, '.')[:-4]}] {_voice(h)}: {_line(h.text)}\n" for h in utterances)


def as_json(utterances: Iterable[UtteranceHeard], facts: Mapping[str, Any]) -> str:
    """Make one JSON object: what is said of it as a whole, and the lines of all utterances."""
    lines = [{k: v for k, v in transcript_line(heard).items() if k != "type"} for heard in utterances]
    return json.dumps({"version": VERSION, **facts, "utterances": lines}, ensure_ascii=False, indent=1) + "\n"


# ---------------------------------------------------------------- reading


def _take(found: Transcript, line: Mapping[str, Any]) -> None:
    match line.get("type"):
        case "transcript":
            found.facts = {k: line[k] for k in FACTS if k in line}
        case "utterance":
            if (heard := _utterance(line)) is not None:
                found.utterances.append(heard)
                for span in _redacted(line.get("redacted")):
                    found.redacted.setdefault(str(line.get("track")), []).append(span)
        case "gap":
            start, end = _seconds(line.get("start")), _seconds(line.get("end"))
            if start is not None and end is not None:
                found.unheard.append(Unheard(str(line.get("track")), start, end, str(line.get("cause"))))


def _utterance(line: Mapping[str, Any]) -> UtteranceHeard | None:
    start, end = _seconds(line.get("start")), _seconds(line.get("end"))
    if start is None or end is None or not isinstance(line.get("text"), str):
        return None
    words = line.get("words")
    return UtteranceHeard(
        id=str(line.get("id")),
        rev=0,
        final=True,
        text=line["text"],
        role=Role.parse(line.get("role")),
        participant_id=None if line.get("participant_id") is None else str(line["participant_id"]),
        start=start,
        end=max(start, end),
        name=str(line.get("name") or ""),
        language=str(line.get("language") or ""),
        words=tuple(_words(words if isinstance(words, list) else [])),
        track=_track(line.get("track")),
        late=bool(line.get("late")),
    )


def _words(said: Iterable[Any]) -> Iterator[Word]:
    for each in said:
        if not isinstance(each, list) or len(each) != 4 or not isinstance(each[0], str):
            continue
        start, end = _seconds(each[1]), _seconds(each[2])
        if start is not None and end is not None:
            yield Word(each[0], start, max(start, end), _seconds(each[3]))


def _redacted(said: object) -> Iterator[tuple[float, float]]:
    for each in said if isinstance(said, list) else ():
        if isinstance(each, list) and len(each) == 3:
            start, end = _seconds(each[1]), _seconds(each[2])
            if start is not None and end is not None:
                yield start, max(start, end)


def _track(said: object) -> Track | None:
    try:
        return Track.parse(said) if isinstance(said, str) else None
    except ValueError:
        return None


def _seconds(said: object) -> float | None:
    good = isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said) and said >= 0
    return float(said) if good else None  # type: ignore[arg-type]  # checked on the line above


# ---------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class _Cue:
    id: str
    voice: str
    text: str
    start: float
    end: float


def _cues(utterances: Iterable[UtteranceHeard]) -> Iterator[_Cue]:
    """Divide utterances into what can be read at once, where word times say how."""
    for heard in utterances:
        parts = list(_parts(heard))
        for number, (said, start, end) in enumerate(parts, 1):
            name = f"{heard.id}-{number}" if len(parts) > 1 else heard.id
            yield _Cue(_line(name), _voice(heard), said, start, max(end, start + 0.001))


def _parts(heard: UtteranceHeard) -> Iterator[tuple[str, float, float]]:
    if not heard.words or " ".join(word.text for word in heard.words) != heard.text:
        yield heard.text, heard.start, heard.end
        return
    part: list[Word] = []
    for word in heard.words:
        long = sum(len(each.text) + 1 for each in part) + len(word.text) > CUE_CHARACTERS
        if part and (long or word.end - part[0].start > CUE_SECONDS):
            yield " ".join(each.text for each in part), part[0].start, part[-1].end
            part = []
        part.append(word)
    if part:
        yield " ".join(each.text for each in part), part[0].start, part[-1].end


def _voice(heard: UtteranceHeard) -> str:
    return _line(f"{str(heard.role).capitalize()} {heard.name}")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _line(said: str) -> str:
    """Keep it on one line, without anything that is not printed: it comes from the network."""
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def _escaped(said: str) -> str:
    """Escape what means something in a cue (W3C WebVTT section 4.2)."""
    return _line(said).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(said: str) -> str:
    """SubRip has no escapes: what would be read as a time or as a tag becomes something else."""
    return _line(said).replace("-->", "→").replace("<", "‹").replace(">", "›")
