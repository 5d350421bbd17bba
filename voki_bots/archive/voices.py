"""The voices of a recording, one by one, for whoever listens to it afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voki_bots.archive.finish import check_keys
from voki_bots.archive.journal import read_journal
from voki_bots.archive.layout import JOURNAL
from voki_bots.archive.render import Voice, clock_points, voices_of
from voki_bots.archive.sidecar import fold
from voki_bots.calls import Participant, Role
from voki_bots.errors import ConfigurationError
from voki_bots.media.audiofile import audio_blocks
from voki_bots.media.encrypted import Keys
from voki_bots.media.mixing import spans
from voki_bots.units import to_samples

BLOCK_SECONDS = 0.1


@dataclass(slots=True)
class RecordedVoice:
    """One voice of a recording.

    Attributes:
        who: Whose it is; the id is empty where nobody knows.
        rate: Samples per second.
        blocks: (start in seconds, mono int16 of shape (n,)) in order of time, about 0.1 s each; where there
            is nothing of the voice there is no block. It can be read once.
        seconds: How long the whole recording lasts; None if that is not known before it is read.
    """

    who: Participant
    rate: int
    blocks: Iterator[tuple[float, npt.NDArray[np.int16]]]
    seconds: float | None = None


def recorded_voices(
    path: Path, *, roles: Sequence[Role | str] = (), rate: int = 16_000, keys: Keys | None = None
) -> list[RecordedVoice]:
    """Open a recording: the folder of a call, or any file of audio, whose channels are its voices.

    Args:
        path: The folder or file.
        roles: Whose the channels of a file are; by default attendant and customer of a stereo one.
        rate: Samples per second to give.
        keys: What decrypts the call, if it is encrypted.

    Raises:
        ConfigurationError: If there is nothing like it, or it is encrypted for other keys.
    """
    if (path / JOURNAL).is_file():
        return list(_of_call(path, rate, keys))
    try:
        first = next(audio_blocks(path, rate), None)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    except ValueError as error:
        raise ConfigurationError(f"expected a file of audio or the folder of a call: {error}") from None
    channels = 1 if first is None else first.shape[1]
    known = list(roles) or ([Role.ATTENDANT, Role.CUSTOMER] if channels == 2 else [Role.UNKNOWN])
    if len(known) != channels:
        raise ConfigurationError(f"{path} has {channels} channels; got {len(known)} roles", path="roles")
    return [
        RecordedVoice(Participant("", "", Role(role)), rate, _of_file(path, rate, number))
        for number, role in enumerate(known)
    ]


def _of_file(path: Path, rate: int, channel: int) -> Iterator[tuple[float, npt.NDArray[np.int16]]]:
    at, size, rest = 0, to_samples(BLOCK_SECONDS, rate), np.zeros(0, dtype=np.int16)
    for block in audio_blocks(path, rate):
        rest = np.concatenate([rest, block[:, channel]])
        while len(rest) >= size:
            yield at / rate, rest[:size]
            at, rest = at + size, rest[size:]
    if len(rest):
        yield at / rate, rest


def _of_call(directory: Path, rate: int, keys: Keys | None) -> Iterator[RecordedVoice]:
    lines = read_journal(directory / JOURNAL)
    sidecar = fold(lines)
    check_keys(directory, sidecar, keys)
    duration = float(sidecar["duration"])
    for voice in voices_of(directory, sidecar, clock_points(lines), rate, keys=keys):
        who = Participant(voice.participant or "", voice.name, Role.parse(voice.role))
        yield RecordedVoice(who, rate, _of_track(voice, rate, duration), duration)


def _of_track(voice: Voice, rate: int, duration: float) -> Iterator[tuple[float, npt.NDArray[np.int16]]]:
    for begin, end in spans(to_samples(duration, rate), to_samples(BLOCK_SECONDS, rate)):
        if (made := voice.read(begin, end)) is not None:
            yield begin / rate, made
