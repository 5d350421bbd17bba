"""A stretch of a call as a file of its own, made from the tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voki_bots.archive.finish import check_keys
from voki_bots.archive.journal import read_journal
from voki_bots.archive.layout import JOURNAL
from voki_bots.archive.render import BLOCK_SECONDS, clock_points, voices_of
from voki_bots.archive.sidecar import fold
from voki_bots.errors import ConfigurationError
from voki_bots.media.audiofile import audio_writer
from voki_bots.media.encrypted import Keys
from voki_bots.media.mixing import Mixer, spans
from voki_bots.units import to_samples


def export(
    directory: Path,
    path: Path,
    channels: Sequence[Sequence[str]],
    *,
    start: float = 0.0,
    end: float | None = None,
    rate: int = 48_000,
    keys: Keys | None = None,
) -> float:
    """Write a stretch of a call into a new file.

    Args:
        directory: The folder of the call; nothing in it is changed. It may still be running.
        path: The file, whose ending is its format; it must not exist.
        channels: For each channel the roles (or ids of participants) that are heard on it.
        start: Seconds of call time.
        end: Exclusive; None is the end of the call.
        rate: Samples per second.
        keys: What decrypts the call, if it is encrypted; the new file is readable.

    Returns:
        Seconds that were written.

    Raises:
        ConfigurationError: If there is no such stretch, or the call is encrypted for other keys.
        FileWriteError: If the file exists, or the disk does not let us.
    """
    lines = read_journal(directory / JOURNAL)
    sidecar = fold(lines)
    duration = float(sidecar["duration"])
    last = duration if end is None else min(end, duration)
    if not 0.0 <= start < last:
        raise ConfigurationError(
            f"from {start:g} s to {last:g} s there is nothing: the call lasts {duration:.1f} s", path="start"
        )
    check_keys(directory, sidecar, keys)
    voices = voices_of(directory, sidecar, clock_points(lines), rate, since=start, keys=keys)
    heard = [
        [voice for voice in voices if voice.role in wanted or voice.participant in wanted]
        for wanted in channels
    ]
    begin, total = to_samples(start, rate), to_samples(last - start, rate)
    mixer, writer = Mixer(), audio_writer(path, rate, len(channels))
    try:
        for low, high in spans(total, to_samples(BLOCK_SECONDS, rate)):
            made = {id(voice): voice.read(begin + low, begin + high) for each in heard for voice in each}
            blocks = [
                mixer.mix([part for v in each if (part := made[id(v)]) is not None], high - low)
                for each in heard
            ]
            writer.write(blocks[0] if len(blocks) == 1 else np.stack(blocks, axis=1))
    finally:
        writer.close()
    return last - start
