"""Whether what a receiver made is what was sent: decoded and laid over it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import speech
from voki_bots.media.opus import Decoder
from voki_bots.testing.signals import correlation

RATE = 16_000
LIKE = 0.95
LIKE_BENT = 0.7
SLACK = 0.35
"""Seconds that may be missing: jitter buffers keep their last packets for themselves."""


def sent(stream: int, count: int) -> npt.NDArray[np.int16]:
    """What a stream said, at 16 kHz."""
    decoder = Decoder(RATE)
    return np.concatenate([decoder.decode(speech.packet(stream, n)) for n in range(count)])


def made(path: Path) -> npt.NDArray[np.int16]:
    """Read a receiver's file at 16 kHz mono."""
    if path.suffix == ".pcm":
        return np.fromfile(path, dtype="<i2").astype(np.int16)
    if path.suffix == ".packets":
        decoder = Decoder(RATE)
        parts = [decoder.decode(bytes.fromhex(packet)) for packet in json.loads(path.read_text())]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
    if path.suffix == ".opus":
        from voki_bots.media.containers import decode_file

        return decode_file(path, RATE)
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        parts = [f.to_ndarray()[0] for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        parts += [f.to_ndarray()[0] for f in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)


def likeness(stream: int, count: int, path: Path) -> tuple[float, float]:
    """Say how like what was sent a file is, and how many seconds are missing."""
    want, have = sent(stream, count), made(path)
    if not len(have):
        return 0.0, math.inf
    return correlation(want, have, window=1.0, rate=RATE), (len(want) - len(have)) / RATE


def stretched(stream: int, count: int, path: Path) -> tuple[float, float]:
    """The same of a file whose clock was bent: a browser stretches speech to follow the network.

    Its file begins before the first packet came, too, so each half second of what was sent is looked for in
    all of it; the median counts.
    """
    want, have = sent(stream, count).astype(np.float32), made(path).astype(np.float32)
    size, found = RATE // 2, []
    if len(have) < 2 * size:
        return 0.0, math.inf
    length = 1 << (len(have) + size).bit_length()
    spectrum = np.fft.rfft(have, length)
    sums = np.concatenate([[0.0], np.cumsum(have.astype(np.float64) ** 2)])
    energy = np.sqrt(sums[size:] - sums[:-size])
    for start in range(0, len(want) - size, size):
        piece = want[start : start + size]
        if np.abs(piece).mean() < 200:
            continue
        likeness_at = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, length)), length)[: len(energy)]
        found.append(float((likeness_at / (energy * float(np.linalg.norm(piece)) + 1e6)).max()))
    return (float(np.median(found)) if found else 0.0), (len(want) - len(have)) / RATE


def prompt() -> npt.NDArray[np.int16]:
    """What is played to everybody: half a minute of speech, at 48 kHz."""
    decoder = Decoder(48_000)
    return np.concatenate([decoder.decode(packet) for packet in speech.corpus()[:1500]])


def played_ok(kept: list[tuple[int, str]]) -> tuple[bool, str]:
    """Compare what the first stream was played with the prompt."""
    decoder, heard = Decoder(48_000), []
    for _, payload in kept:
        heard.append(decoder.decode(bytes.fromhex(payload)))
    if not heard:
        return False, "nothing was heard"
    have = np.concatenate(heard)[: 20 * 48_000 : 3]
    like = correlation(prompt()[: len(have) * 3 : 3], have, window=1.0, rate=RATE)
    return like >= LIKE, f"correlation {like:.3f}"


def content_ok(counts: list[int], files: list[str], *, bent: bool = False) -> tuple[bool, str]:
    """Compare every file with what was sent; `bent` if the receiver bends time."""
    judge, like = (stretched, LIKE_BENT) if bent else (likeness, LIKE)
    found = [judge(n, count, Path(file)) for n, (count, file) in enumerate(zip(counts, files, strict=True))]
    worst, missing = min(like for like, _ in found), max(gone for _, gone in found)
    remark = f"correlation {worst:.3f}, {missing:.2f} s missing, at worst of {len(found)}"
    return worst >= like and missing <= SLACK, remark
