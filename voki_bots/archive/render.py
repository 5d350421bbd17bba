"""The finished files themselves: one pass over all tracks of a call, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from voki_bots.archive.composite import COMPOSITE, THUMBNAIL, compose, films, thumbnail_of
from voki_bots.archive.journal import Line
from voki_bots.archive.layout import make_directory
from voki_bots.archive.masking import Spans, masked
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.picture import Levels, Row, draw
from voki_bots.archive.recover import track_path
from voki_bots.archive.transcript import attributed, caption_files, read_transcript, transcripts_in
from voki_bots.calls import Role
from voki_bots.errors import FileWriteError
from voki_bots.media.audiofile import AudioWriter, Pcm, audio_writer, binary_file
from voki_bots.media.containers import opus_packets
from voki_bots.media.encrypted import ENDING, Keys
from voki_bots.media.mixing import Bend, ClockPoint, Mixer, TrackAudio, spans
from voki_bots.units import SAMPLE_RATE, to_samples

BLOCK_SECONDS = 1.0

PACKET_SECONDS = 0.020
"""A file may hold this much less or more than the journal says: a packet."""

_READ_BEFORE = 1.0

WHISPER = "whisper"
"""How the file of what a supervisor whispered is called; its role is none of those that can be mixed."""

_NOTHING: Spans = {}


@dataclass(slots=True)
class Voice:
    """Everything that was recorded of one participant, in all segments.

    Attributes:
        role: Theirs, or ``unknown``.
        number: Counts those of the same role, from 1.
        participant: The id, or None for a track of nobody's.
        name: As shown.
        tracks: As in the sidecar.
        audio: The same, to be heard.
    """

    role: str
    number: int
    participant: str | None
    name: str
    tracks: list[dict[str, Any]] = field(default_factory=list)
    audio: list[TrackAudio] = field(default_factory=list)

    @property
    def label(self) -> str:
        """How its file is called, without its ending."""
        return f"{self.role}-{self.number}"

    @property
    def ids(self) -> list[str]:
        """The names of its tracks."""
        return [str(track["id"]) for track in self.tracks]

    def read(self, begin: int, end: int) -> Pcm | None:
        """Give its samples, or None where there is nothing of it."""
        parts = [made for audio in self.audio if (made := audio.read(begin, end)) is not None]
        return Mixer().mix(parts, end - begin) if parts else None


@dataclass(slots=True)
class Output:
    """One file in the making, each of whose channels is the sum of some voices."""

    name: str
    kind: str
    channels: list[list[Voice]]
    writer: AudioWriter
    mixer: Mixer = field(default_factory=Mixer)

    def write(self, heard: Mapping[int, Pcm], size: int) -> None:
        """Write a block, given what there is of each voice (by `id`)."""
        made = [
            self.mixer.mix([heard[id(voice)] for voice in voices if id(voice) in heard], size)
            for voices in self.channels
        ]
        self.writer.write(made[0] if len(made) == 1 else np.stack(made, axis=1))

    def facts(self) -> dict[str, Any]:
        """What the sidecar says of it."""
        tracks = [[track for voice in voices for track in voice.ids] for voices in self.channels]
        return {"path": self.name, "kind": self.kind, "channels": tracks, "clipped": self.mixer.clipped}


def render(
    directory: Path,
    sidecar: Mapping[str, Any],
    lines: Sequence[Line],
    options: FinishOptions,
    into: Path,
    progress: Any,
    *,
    keys: Keys | None = None,
    recipients: Sequence[str] = (),
    masks: Spans = _NOTHING,
) -> dict[str, Any]:
    """Make everything that `options` ask for.

    Args:
        directory: The folder of the call.
        sidecar: The fold of its journal.
        lines: The journal, for what it says of clocks.
        options: What to make.
        into: An empty folder.
        progress: Told the share that is done.
        keys: What decrypts the tracks, if they are encrypted.
        recipients: For whom what is made is encrypted; nobody leaves it readable.
        masks: Spans of tracks of which nothing is to be heard.

    Returns:
        ``outputs`` (path, kind, tracks on each channel, samples that were clipped), ``left_out`` (tracks
        that are on no side of the stereo file, and why) and ``problems`` (files that do not hold what they
        should).

    Raises:
        FileWriteError: If the disk does not take it.
    """
    voices = voices_of(directory, sidecar, clock_points(lines), options.rate, keys=keys, masks=masks)
    duration = _duration(sidecar)
    total = to_samples(duration, options.rate)
    with ExitStack() as stack:
        outputs = _outputs(voices, options, into, stack, recipients)
        rows = [Row(voice.name or voice.label, voice.role, Levels(total), _gaps(voice)) for voice in voices]
        for begin, end in spans(total, to_samples(BLOCK_SECONDS, options.rate)):
            heard: dict[int, Pcm] = {}
            for voice, row in zip(voices, rows, strict=True):
                if (made := voice.read(begin, end)) is not None:
                    heard[id(voice)] = made
                    row.levels.take(begin, made)
            for output in outputs:
                output.write(heard, end - begin)
            progress(end / total)
    made_files = [output.facts() for output in outputs]
    if options.picture and total:
        title = f"{sidecar.get('tenant')}/{sidecar.get('call')}"
        name = _named("waveform.svg", recipients)
        with closing(binary_file(into / "waveform.svg", recipients)) as file:
            file.write(draw(rows, duration, title).encode())
        made_files.append({"path": name, "kind": "picture", "channels": [], "clipped": 0})
    if options.composite and total:
        made_files += _film(directory, sidecar, lines, options, into, progress, keys, recipients, masks)
    if options.captions:
        made_files += _captions(directory, sidecar, into, keys, recipients)
    return {
        "outputs": made_files,
        "left_out": _left_out(voices, options),
        "problems": list(_problems(voices, sidecar)),
    }


def voices_of(
    directory: Path,
    sidecar: Mapping[str, Any],
    points: Mapping[str, Sequence[ClockPoint]],
    rate: int,
    *,
    since: float = 0.0,
    keys: Keys | None = None,
    masks: Spans = _NOTHING,
) -> list[Voice]:
    """Group the audio tracks of a call by whose they are, in order of their beginnings.

    Args:
        directory: The folder of the call.
        sidecar: The fold of its journal.
        points: What is known of the clock of each track.
        rate: Samples per second to decode at.
        since: Seconds of call time before which nothing will be asked for.
        keys: What decrypts the tracks, if they are encrypted.
        masks: Spans of tracks of which nothing is to be heard.
    """
    people = {str(each["id"]): each for each in sidecar["participants"]}
    found: dict[str, Voice] = {}
    numbers: dict[str, int] = {}
    tracks = [each for each in sidecar["tracks"] if each["kind"] == "audio" and each["start"] is not None]
    for track in sorted(tracks, key=lambda each: (each["start"], each["id"])):
        person = people.get(str(track["participant"]), {})
        known = str(person.get("role") or "unknown")
        role = str(Role.parse(known if known != "unknown" else track["role"]))
        key = f"participant {track['participant']}" if track["participant"] else f"track {track['id']}"
        if track["local"] and role == Role.SUPERVISOR:
            # Not everybody heard it, so it is in nothing that others are to hear.
            role, key = WHISPER, f"whisper {track['participant']}"
        if key not in found:
            numbers[role] = numbers.get(role, 0) + 1
            name = str(person.get("name") or "")
            found[key] = Voice(role, numbers[role], track["participant"], name)
        found[key].tracks.append(track)
        packets = _packets(directory, track, since, keys)
        if hidden := masks.get(str(track["id"])):
            packets = masked(packets, float(track["file_start"] or 0.0), hidden)
        start = float(track["file_start"] or 0.0)
        found[key].audio.append(TrackAudio(packets, start, rate, Bend(points.get(track["id"], ()))))
    return list(found.values())


def clock_points(lines: Iterable[Line]) -> dict[str, list[ClockPoint]]:
    """Collect what a journal says of the clocks of its tracks."""
    found: dict[str, list[ClockPoint]] = {}
    for line in lines:
        if line.get("type") == "clock_measured":
            try:
                point = ClockPoint(float(line["position"]), float(line["late"]), int(line.get("anchor", 0)))
                found.setdefault(str(line["track"]), []).append(point)
            except (KeyError, TypeError, ValueError):
                continue
    return found


def _packets(
    directory: Path, track: Mapping[str, Any], since: float, keys: Keys | None
) -> Iterator[tuple[int, bytes]]:
    """Read a track's packets; nothing from a file that is missing, or no recording."""
    path = track_path(directory, track)
    if path is None or track["codec"] != "opus":
        return
    first = to_samples(since - _READ_BEFORE - float(track["file_start"]), SAMPLE_RATE)
    try:
        for at, payload in opus_packets(path, keys):
            if at >= first:
                yield at, payload
    except (OSError, ValueError):
        return


def _outputs(
    voices: list[Voice], options: FinishOptions, into: Path, stack: ExitStack, recipients: Sequence[str]
) -> list[Output]:
    outputs: list[Output] = []

    def add(name: str, kind: str, channels: list[list[Voice]]) -> None:
        writer = audio_writer(into / name, options.rate, len(channels), recipients=recipients)
        stack.callback(writer.close)
        outputs.append(Output(_named(name, recipients), kind, channels, writer))

    if options.stereo:
        add(f"stereo.{options.format}", "stereo", [_of(voices, side) for side in options.stereo])
    if options.mix:
        add(f"mix.{options.format}", "mix", [_of(voices, options.mix)])
    if options.participants and voices:
        make_directory(into / "participants")
        for voice in voices:
            add(f"participants/{voice.label}.{options.format}", "participant", [[voice]])
    return outputs


def _film(
    directory: Path,
    sidecar: Mapping[str, Any],
    lines: Sequence[Line],
    options: FinishOptions,
    into: Path,
    progress: Any,
    keys: Keys | None,
    recipients: Sequence[str],
    masks: Spans,
) -> list[dict[str, Any]]:
    """Make the film of a call and a small picture of it; nothing where there are no pictures."""
    if not (found := films(directory, sidecar, keys)):
        return []
    roles = options.mix or tuple(str(role) for role in Role)
    points = clock_points(lines)
    voices = _of(voices_of(directory, sidecar, points, SAMPLE_RATE, keys=keys, masks=masks), roles)

    def heard(begin: int, end: int) -> Pcm | None:
        parts = [made for voice in voices if (made := voice.read(begin, end)) is not None]
        return Mixer().mix(parts, end - begin) if parts else None

    with closing(binary_file(into / COMPOSITE, recipients)) as out:
        seen = compose(found, heard, _duration(sidecar), out, progress=progress)
    tracks = [[str(film.track["id"]) for film in found], [id_ for voice in voices for id_ in voice.ids]]
    made = [{"path": _named(COMPOSITE, recipients), "kind": "composite", "channels": tracks, "clipped": 0}]
    if seen is not None:
        with closing(binary_file(into / THUMBNAIL, recipients)) as out:
            out.write(thumbnail_of(seen))
        made.append(
            {"path": _named(THUMBNAIL, recipients), "kind": "thumbnail", "channels": [], "clipped": 0}
        )
    return made


def _captions(
    directory: Path, sidecar: Mapping[str, Any], into: Path, keys: Keys | None, recipients: Sequence[str]
) -> list[dict[str, Any]]:
    """Make of a transcript what people read, unless it is more secret than the call."""
    secret = any(path.suffix == ENDING for path in transcripts_in(directory))
    if secret and (keys is None or not recipients):
        return []
    try:
        found = read_transcript(directory, keys)
    except (OSError, ValueError) as error:
        raise FileWriteError(
            f"{directory}: the transcript cannot be read: {error}", path=str(directory)
        ) from error
    if found is None:
        return []
    made = caption_files(attributed(found.utterances, sidecar), found.facts)
    for name, content in made.items():
        with closing(binary_file(into / name, recipients)) as file:
            file.write(content.encode("utf-8", "replace"))
    return [
        {"path": _named(name, recipients), "kind": "captions", "channels": [], "clipped": 0} for name in made
    ]


def _named(name: str, recipients: Sequence[str]) -> str:
    return name + ENDING if recipients else name


def _of(voices: Iterable[Voice], roles: Sequence[str]) -> list[Voice]:
    return [voice for voice in voices if voice.role in roles]


def _duration(sidecar: Mapping[str, Any]) -> float:
    ends = [each["end"] for each in sidecar["tracks"] if each["end"] is not None]
    return float(max([sidecar["duration"], *ends]))


def _gaps(voice: Voice) -> list[tuple[float, float, str]]:
    """Where there is nothing of somebody; a re-dial's other half is no gap if another track covers it."""
    if len(voice.tracks) != 1:
        return []
    return [(gap["start"], gap["end"], str(gap["cause"])) for gap in voice.tracks[0]["gaps"]]


def _left_out(voices: Iterable[Voice], options: FinishOptions) -> list[dict[str, str]]:
    if options.stereo is None:
        return []
    sides = {role for side in options.stereo for role in side}
    return [
        {"track": track, "role": voice.role, "why": "its role is on neither side"}
        for voice in voices
        for track in voice.ids
        if voice.role not in sides
    ]


def _problems(voices: Iterable[Voice], sidecar: Mapping[str, Any]) -> Iterator[str]:
    """Compare what the files hold with what the journal says was received."""
    dropped = {str(each["track"]) for each in sidecar["dropped"]}
    for voice in voices:
        for track, audio in zip(voice.tracks, voice.audio, strict=True):
            audio.drain()
            received, held = float(track["audio"] or 0.0), audio.ticks / SAMPLE_RATE
            if abs(received - held) > PACKET_SECONDS + 1e-6:
                why = ": packets were dropped" if track["id"] in dropped else ""
                file = track["file"] or "its file"
                said = f"track {track['id']} received {received:.3f} s of audio"
                yield f"{said}, {file} holds {held:.3f} s{why}"
