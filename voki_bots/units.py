"""Samples, seconds and levels. Pure.

An ``int`` counts samples (or RTP ticks, which for Opus are samples at 48 kHz, RFC 7587 section 4.1);
a ``float`` is seconds. Levels are dBFS: 0 is a full-scale square wave, silence is `SILENCE_DBFS`.
"""

from __future__ import annotations

import math

SAMPLE_RATE = 48_000
"""The RTP clock and the decoding rate of Opus, in hertz (RFC 7587 section 4.1)."""

FRAME_SAMPLES = 960
"""Samples in 20 ms at 48 kHz, the usual duration of an Opus packet."""

FULL_SCALE = 32_768
"""The magnitude of int16 full scale."""

SILENCE_DBFS = -127.0
"""What stands for digital silence, as in the audio-level header extension (RFC 6464 section 3)."""


def to_seconds(samples: int, rate: int = SAMPLE_RATE) -> float:
    """Convert a count of samples to seconds."""
    return samples / rate


def to_samples(seconds: float, rate: int = SAMPLE_RATE) -> int:
    """Convert seconds to the nearest count of samples."""
    return round(seconds * rate)


def to_dbfs(amplitude: float) -> float:
    """Convert a linear amplitude (1.0 = full scale) to dBFS, floored at `SILENCE_DBFS`."""
    if amplitude <= 0.0:
        return SILENCE_DBFS
    return max(SILENCE_DBFS, 20.0 * math.log10(amplitude))


def from_dbfs(level: float) -> float:
    """Convert dBFS to a linear amplitude (1.0 = full scale)."""
    return 0.0 if level <= SILENCE_DBFS else float(10.0 ** (level / 20.0))
