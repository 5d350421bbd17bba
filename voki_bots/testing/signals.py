"""Signals to feed a plugin with, and ears to judge what it made of them.

Audio is asserted by content: which tone, how like what was sent. All samples are mono int16, shape (n,).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from voki_bots.calls import Track
from voki_bots.media.frames import Packet
from voki_bots.units import FRAME_SAMPLES, FULL_SCALE, SAMPLE_RATE, to_dbfs, to_samples, to_seconds

Samples: TypeAlias = "npt.NDArray[np.int16]"
Recording: TypeAlias = "Path | str | npt.NDArray[np.int16]"
"""A file, or its samples."""

FADE = 0.005
"""Seconds over which a tone swells and fades, so that its ends do not click."""

SILENT = 1e-4
"""An RMS (1.0 = full scale) below which there is nothing to hear: -80 dBFS."""


def tone(hz: float, seconds: float, rate: int = SAMPLE_RATE, *, amplitude: float = 0.5) -> Samples:
    """Make a sine: `amplitude` 1.0 is full scale."""
    count = to_samples(seconds, rate)
    wave = np.sin(2 * np.pi * hz * np.arange(count) / rate) * amplitude * (FULL_SCALE - 1)
    if (fade := min(to_samples(FADE, rate), count // 2)) > 0:
        slope = np.linspace(0.0, 1.0, fade, endpoint=False)
        wave[:fade] *= slope
        wave[count - fade :] *= slope[::-1]
    return np.round(wave).astype(np.int16)


def silence(seconds: float, rate: int = SAMPLE_RATE) -> Samples:
    """Make digital silence."""
    return np.zeros(to_samples(seconds, rate), dtype=np.int16)


def packets(
    samples: Samples, track: Track, *, start: float = 0.0, sequence: int = 0, bitrate: int = 48_000
) -> list[Packet]:
    """Encode samples at 48 kHz as Opus packets of 20 ms, as a sender would; a rest is filled with silence.

    Args:
        samples: What is said.
        track: On which track.
        start: Seconds of call time of the first sample; the RTP timestamps are those of call time.
        sequence: Number of the first packet.
        bitrate: Bits per second.
    """
    from voki_bots.media.opus import Encoder

    encoder = Encoder(SAMPLE_RATE, bitrate=bitrate)
    padded = np.concatenate([samples, np.zeros(-len(samples) % FRAME_SAMPLES, dtype=np.int16)])
    first = to_samples(start)
    made = []
    for number in range(len(padded) // FRAME_SAMPLES):
        at = number * FRAME_SAMPLES
        payload = encoder.encode(padded[at : at + FRAME_SAMPLES])
        when = to_seconds(first + at)
        made.append(
            Packet(
                track=track,
                payload=payload,
                timestamp=first + at,
                sequence=sequence + number,
                start=when,
                duration=FRAME_SAMPLES,
                arrival=when,
            )
        )
    return made


def with_holes(packets: Iterable[Packet], holes: Sequence[tuple[float, float]]) -> list[Packet]:
    """Lose every packet that starts in one of `holes`, spans of call time whose end is exclusive."""
    return [each for each in packets if not any(start <= each.start < end for start, end in holes)]


def decode(path: Path | str, rate: int = SAMPLE_RATE, *, channel: int | None = None) -> Samples:
    """Decode a recording to mono, with silence where nothing was received. Sample 0 is its first packet.

    Args:
        path: A track, or a finished file in any format.
        rate: Samples per second to give.
        channel: One channel of a finished file, from 0; None takes their mean.

    Raises:
        ValueError: If it is no recording. OSError if it cannot be read.
    """
    from voki_bots.media.audiofile import read_audio
    from voki_bots.media.containers import decode_file, is_track

    path = Path(path)
    # Our own tracks can have holes; only there do positions matter more than a decoder that skips them.
    if path.suffix == ".opus" and channel is None and is_track(path):
        return decode_file(path, rate)
    return read_audio(path, rate, channel=channel)


@dataclass(frozen=True, slots=True)
class Heard:
    """What there is to hear in a stretch of audio.

    Attributes:
        hz: The strongest frequency.
        share: How much of the energy is within 3 % (at least 20 Hz) of it, 0.0 to 1.0.
        level: dBFS of the whole.
    """

    hz: float
    share: float
    level: float

    def __str__(self) -> str:
        if self.level <= to_dbfs(SILENT):
            return "silence"
        return f"{self.hz:.0f} Hz with {self.share:.0%} of the energy at {self.level:.0f} dBFS"


def heard(samples: Samples, rate: int = SAMPLE_RATE) -> Heard:
    """Say which tone stands out in a stretch of audio."""
    wave = samples.astype(np.float64) / FULL_SCALE
    rms = float(np.sqrt(np.mean(wave**2))) if len(wave) else 0.0
    if rms < SILENT:
        return Heard(0.0, 0.0, to_dbfs(rms))
    energy = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    frequencies = np.fft.rfftfreq(len(wave), 1 / rate)
    peak = float(frequencies[int(np.argmax(energy))])
    return Heard(peak, _share(energy, frequencies, peak), to_dbfs(rms))


def assert_tone(
    hz: float,
    recording: Recording,
    *,
    at: float | None = None,
    seconds: float = 0.5,
    rate: int = SAMPLE_RATE,
    share: float = 0.6,
) -> None:
    """Assert that a tone is what one hears.

    Args:
        hz: Its frequency.
        recording: A file of ours, or samples.
        at: Seconds from the beginning of the recording; None listens to all of it.
        seconds: How long to listen from there.
        rate: Of the samples; a file is decoded at it.
        share: How much of the energy the tone must have.

    Raises:
        AssertionError: If it is not; the message says what is heard instead.
    """
    samples = _samples(recording, rate)
    begin = 0 if at is None else to_samples(at, rate)
    stretch = samples if at is None else samples[begin : begin + to_samples(seconds, rate)]
    found = heard(stretch, rate)
    where = f"in {to_seconds(len(samples), rate):.2f} s" if at is None else f"at {at:g} s"
    near = abs(found.hz - hz) <= _width(hz)
    if not near or found.share < share:
        raise AssertionError(f"expected {hz:g} Hz {where}, heard {found}")


def assert_silence(
    recording: Recording, *, at: float | None = None, seconds: float = 0.5, rate: int = SAMPLE_RATE
) -> None:
    """Assert that there is nothing to hear (below -60 dBFS). Arguments as for `assert_tone`."""
    samples = _samples(recording, rate)
    begin = 0 if at is None else to_samples(at, rate)
    found = heard(samples if at is None else samples[begin : begin + to_samples(seconds, rate)], rate)
    if found.level > -60.0:
        raise AssertionError(f"expected silence{'' if at is None else f' at {at:g} s'}, heard {found}")


def correlation(a: Recording, b: Recording, *, window: float | None = None, rate: int = SAMPLE_RATE) -> float:
    """Say how alike two recordings are when laid over each other as well as possible.

    It is the highest normalised cross-correlation over all lags at which at least half of the shorter one
    lies over the other: 1.0 is the same but for loudness, unrelated voices stay well below 0.3.

    Args:
        a: A file of ours, or samples.
        b: The other one.
        window: The largest lag to try, in seconds; None tries all.
        rate: Of the samples; files are decoded at it.

    Returns:
        0.0 to 1.0; 0.0 if either is silent.
    """
    x = _samples(a, rate).astype(np.float64)
    y = _samples(b, rate).astype(np.float64)
    if not len(x) or not len(y):
        return 0.0
    size = 1 << (len(x) + len(y) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    lags = np.arange(-(len(y) - 1), len(x))
    overlap = np.minimum(len(x), lags + len(y)) - np.maximum(0, lags)
    usable = overlap * 2 >= min(len(x), len(y))
    if window is not None:
        usable &= np.abs(lags) <= to_samples(window, rate)
    lags = lags[usable]
    norms = np.sqrt(_energy(x, lags, len(y)) * _energy(y, -lags, len(x)))
    loud = norms > (SILENT * FULL_SCALE) ** 2 * min(len(x), len(y)) / 2
    if not loud.any():
        return 0.0
    return float(np.clip(np.max(products[lags[loud]] / norms[loud]), 0.0, 1.0))


def _energy(
    wave: npt.NDArray[np.float64], lags: npt.NDArray[np.int64], length: int
) -> npt.NDArray[np.float64]:
    """Sum the squares of `wave` where something of `length` lies over it, beginning at each of `lags`."""
    sums = np.concatenate([[0.0], np.cumsum(wave**2)])
    begin = np.clip(lags, 0, len(wave))
    end = np.clip(lags + length, 0, len(wave))
    energy: npt.NDArray[np.float64] = sums[end] - sums[begin]
    return energy


def _samples(recording: Recording, rate: int) -> Samples:
    return recording if isinstance(recording, np.ndarray) else decode(recording, rate)


def _width(hz: float) -> float:
    return max(20.0, 0.03 * hz)


def _share(energy: npt.NDArray[np.floating], frequencies: npt.NDArray[np.floating], hz: float) -> float:
    near = np.abs(frequencies - hz) <= _width(hz)
    return float(energy[near].sum() / energy.sum())
