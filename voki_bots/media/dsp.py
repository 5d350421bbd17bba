"""Small operations on PCM: downmix, resample, mix, level, fade. Pure numpy and soxr."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from voki_bots.media.frames import AudioFrame
from voki_bots.units import FULL_SCALE, SILENCE_DBFS, to_dbfs, to_samples

Pcm = npt.NDArray[np.int16]


def downmix(samples: Pcm) -> Pcm:
    """Average channels: shape (n, channels) int16 becomes (n,) int16; (n,) stays as it is."""
    if samples.ndim == 1:
        return samples
    return np.asarray(samples.astype(np.int32).mean(axis=1).round(), dtype=np.int16)


def mix(parts: Sequence[Pcm]) -> Pcm:
    """Add mono signals of any lengths: int16, as long as the longest, clipped at full scale."""
    if not parts:
        return np.zeros(0, dtype=np.int16)
    total = np.zeros(max(len(part) for part in parts), dtype=np.int32)
    for part in parts:
        total[: len(part)] += part
    return np.asarray(np.clip(total, -FULL_SCALE, FULL_SCALE - 1), dtype=np.int16)


def level(samples: Pcm) -> float:
    """Measure the root mean square of int16 samples in dBFS, `SILENCE_DBFS` for nothing."""
    if not len(samples):
        return SILENCE_DBFS
    signal = samples.astype(np.float32)
    return to_dbfs(float(np.sqrt(np.dot(signal, signal) / len(signal))) / FULL_SCALE)


def peak(samples: Pcm) -> float:
    """Measure the largest magnitude of int16 samples in dBFS."""
    if not len(samples):
        return SILENCE_DBFS
    return to_dbfs(max(int(samples.max()), -int(samples.min())) / FULL_SCALE)


def gain(samples: Pcm, decibels: float) -> Pcm:
    """Make int16 samples louder or quieter, clipped at full scale."""
    scaled = samples.astype(np.float32) * np.float32(10.0 ** (decibels / 20.0))
    return np.asarray(np.clip(scaled.round(), -FULL_SCALE, FULL_SCALE - 1), dtype=np.int16)


def fade(samples: Pcm, rate: int, *, fade_in: float = 0.0, fade_out: float = 0.0) -> Pcm:
    """Fade in and out linearly over the given seconds, which may not overlap in effect: int16 (n,)."""
    ramp = np.ones(len(samples), dtype=np.float32)
    rising = min(to_samples(fade_in, rate), len(samples))
    falling = min(to_samples(fade_out, rate), len(samples))
    if rising:
        ramp[:rising] *= np.linspace(0.0, 1.0, rising, endpoint=False, dtype=np.float32)
    if falling:
        ramp[len(samples) - falling :] *= np.linspace(1.0, 0.0, falling, dtype=np.float32)
    return np.asarray((samples * ramp).round(), dtype=np.int16)


def resample(samples: Pcm, source: int, target: int) -> Pcm:
    """Resample a whole signal: int16 (n,) becomes int16 (about n × target / source,)."""
    if source == target:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, source, target), dtype=np.int16)


class Resampler:
    """Resamples a stream piece by piece; the pieces together are as long as the whole, after `flush`."""

    def __init__(self, source: int, target: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(source, target, 1, dtype="int16")

    def process(self, samples: Pcm) -> Pcm:
        """Take a piece, give what is ready: int16 (m,), m may be 0 at first."""
        return np.asarray(self._stream.resample_chunk(samples), dtype=np.int16)

    def flush(self) -> Pcm:
        """Give the rest; nothing may follow."""
        return np.asarray(self._stream.resample_chunk(np.zeros(0, dtype=np.int16), last=True), dtype=np.int16)


class Gain:
    """A filter that makes a track louder or quieter.

    Args:
        decibels: Positive is louder; what exceeds full scale is clipped.
    """

    def __init__(self, decibels: float) -> None:
        self.decibels = decibels

    def process(self, frame: AudioFrame) -> list[AudioFrame]:
        """Give one frame for each."""
        samples = gain(frame.samples, self.decibels)
        return [AudioFrame(frame.track, samples, frame.rate, frame.start, frame.concealed)]

    def flush(self) -> list[AudioFrame]:
        """Nothing is held back."""
        return []
