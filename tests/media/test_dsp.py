"""Small operations on PCM."""

import numpy as np

from voki_bots.media import dsp


def tone(hertz: float, seconds: float = 1.0, rate: int = 48_000, amplitude: float = 0.5) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (amplitude * 32_767 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def loudest(samples: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


def test_a_full_scale_square_wave_is_0_dbfs() -> None:
    """The scale of levels is that of the whole package."""
    assert abs(dsp.level(np.tile(np.array([32_767, -32_768], dtype=np.int16), 100))) < 0.01


def test_nothing_is_silence() -> None:
    """An empty piece has the level of silence."""
    assert (dsp.level(np.zeros(0, dtype=np.int16)), dsp.peak(np.zeros(9, dtype=np.int16))) == (-127.0, -127.0)


def test_downmixing_averages() -> None:
    """Opposite channels cancel."""
    stereo = np.stack([tone(440), -tone(440)], axis=1)
    assert int(np.abs(dsp.downmix(stereo)).max()) <= 1


def test_mixing_clips_instead_of_wrapping() -> None:
    """Two loud signals stay at full scale."""
    loud = np.full(10, 30_000, dtype=np.int16)
    assert dsp.mix([loud, loud[:5]]).tolist() == [32_767] * 5 + [30_000] * 5


def test_resampling_keeps_the_tone_and_the_length() -> None:
    """A second stays a second, and 440 Hz stay 440 Hz."""
    made = dsp.resample(tone(440), 48_000, 16_000)
    assert (len(made), loudest(made, 16_000)) == (16_000, 440.0)


def test_resampling_a_stream_gives_as_much_as_resampling_the_whole() -> None:
    """Pieces of any size add up."""
    stream, source, out = dsp.Resampler(48_000, 16_000), tone(440), []
    for n in range(0, len(source), 777):
        out.append(stream.process(source[n : n + 777]))
    out.append(stream.flush())
    assert abs(len(np.concatenate(out)) - 16_000) <= 1


def test_gain_of_minus_6_db_halves() -> None:
    """Decibels are of amplitude."""
    assert abs(dsp.level(dsp.gain(tone(440), -6.0)) - (dsp.level(tone(440)) - 6.0)) < 0.01


def test_fading_begins_and_ends_in_silence() -> None:
    """The middle stays as it was."""
    faded = dsp.fade(tone(440), 48_000, fade_in=0.1, fade_out=0.1)
    assert (faded[0], faded[-1]) == (0, 0)
    assert np.array_equal(faded[9_600:38_400], tone(440)[9_600:38_400])
