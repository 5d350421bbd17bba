"""What people say: Opus packets of 20 ms, encoded before anybody speaks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

import av
import numpy as np

from ..errors import ConfigurationError
from ..units import FRAME_SAMPLES, SAMPLE_RATE
from .ogg import read_packets

LANGUAGES = ("pt", "en", "ko")
PAUSE = 0.4
"""Seconds of silence between two utterances."""

_SETTLING = 5  # packets of an encoder that still hold its start-up transient


@cache
def utterance(name: str) -> tuple[bytes, ...]:
    """Return the packets of one speech asset, named like ``pt00.opus`` or ``pt00``.

    Raises:
        ConfigurationError: There is no such asset.
    """
    stem = PurePosixPath(name).stem
    for language in LANGUAGES:
        if stem in _stems(language):
            path = files(__package__) / "speech" / language / f"{stem}.opus"
            return tuple(read_packets(path.read_bytes()))
    raise ConfigurationError(f"there is no speech asset called {name[:40]!r}", path="speech")


@cache
def _stems(language: str) -> dict[str, str]:
    index = json.loads((files(__package__) / "speech" / language / "index.json").read_text("utf-8"))
    return {PurePosixPath(name).stem: str(entry["voice"]) for name, entry in sorted(index.items())}


def utterances(language: str, speaker: int) -> list[str]:
    """Choose what the `speaker`-th person of a call says: another voice and another order than the rest.

    Raises:
        ConfigurationError: There is no speech in this language.
    """
    if language not in LANGUAGES:
        raise ConfigurationError(f"people speak {', '.join(LANGUAGES)}, not {language[:20]!r}", path="speech")
    stems = _stems(language)
    voices = sorted(set(stems.values()))
    voice = voices[speaker % len(voices)]
    own = [stem for stem, spoken_by in stems.items() if spoken_by == voice]
    start = (speaker // len(voices) + speaker) % len(own)
    return own[start:] + own[:start]


def _encoder(bit_rate: int, **more: str) -> av.AudioCodecContext:
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate = SAMPLE_RATE
    codec.layout = "mono"
    codec.format = "s16"
    codec.bit_rate = bit_rate
    codec.options = {"application": "voip", "frame_duration": "20", **more}
    return codec


@cache
def _encode(hertz: int, packets: int) -> tuple[bytes, ...]:
    """Encode a sine wave of half scale (0 Hz: silence) in mono at 32 kbit/s."""
    codec = _encoder(32_000)
    count = (packets + _SETTLING) * FRAME_SAMPLES
    wave = 0.5 * 32_767 * np.sin(2 * np.pi * hertz * np.arange(count) / SAMPLE_RATE)
    samples = wave.astype(np.int16)
    encoded: list[bytes] = []
    for start in range(0, count, FRAME_SAMPLES):
        piece = samples[np.newaxis, start : start + FRAME_SAMPLES]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        encoded += [bytes(packet) for packet in codec.encode(frame)]
    return tuple(encoded[_SETTLING : _SETTLING + packets])


def silence() -> bytes:
    """Return one encoded packet of silence."""
    return _encode(0, 1)[0]


def tone(hertz: int) -> Iterator[bytes]:
    """Speak a sine wave for ever. It is whole in 1 s, so the loop has no seam in the wave."""
    return itertools.cycle(_encode(hertz, SAMPLE_RATE // FRAME_SAMPLES))


def speech(names: Sequence[str]) -> Iterator[bytes]:
    """Speak the named assets one after another with pauses between, for ever."""
    pause = [silence()] * round(PAUSE * SAMPLE_RATE / FRAME_SAMPLES)
    for name in itertools.cycle(names):
        yield from utterance(name)
        yield from pause


def redundant(packets: Iterable[bytes]) -> Iterator[bytes]:
    """Say the same with in-band redundancy (RFC 6716 section 2.1.7), as browsers do where it is asked for.

    Each packet then holds a coarse copy of the one before.
    """
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout, decoder.format = SAMPLE_RATE, "mono", "s16"
    encoder = _encoder(24_000, fec="1", packet_loss="20")
    for payload in packets:
        for frame in decoder.decode(av.Packet(payload)):
            yield from map(bytes, encoder.encode(frame))


def quiet() -> Iterator[bytes]:
    """Say nothing, in packets, for ever."""
    return itertools.repeat(silence())
