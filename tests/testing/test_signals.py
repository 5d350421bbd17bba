"""The ears of the testing kit hear what is there, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from voki_bots.calls import Track
from voki_bots.media.containers import OggOpusWriter
from voki_bots.testing import (
    assert_silence,
    assert_tone,
    correlation,
    decode,
    heard,
    packets,
    silence,
    tone,
    with_holes,
)
from voki_bots.testing.signals import Samples

TRACK = Track(0, "1", 7)
SPEECH = Path(__file__).parents[2] / "voki_bots/sandbox/speech"


def recorded(path: Path, samples: Samples, holes: list[tuple[float, float]]) -> Path:
    writer = OggOpusWriter(path)
    for packet in with_holes(packets(samples, TRACK), holes):
        writer.write(packet.payload, packet.timestamp, packet.duration)
    writer.close()
    return path


@pytest.mark.parametrize(
    ("seconds", "rate", "count"), [(1.0, 48_000, 48_000), (0.1, 16_000, 1600), (0, 8000, 0)]
)
def test_a_tone_lasts_as_long_as_asked(seconds: float, rate: int, count: int) -> None:
    """Tone and silence have seconds times rate samples."""
    assert (len(tone(440, seconds, rate)), len(silence(seconds, rate))) == (count, count)


def test_a_tone_is_heard_at_its_frequency_and_level() -> None:
    """Half of full scale is -9 dBFS, and nearly all energy is at the frequency."""
    found = heard(tone(1000, 1.0))
    assert (round(found.hz), round(found.level), found.share > 0.99) == (1000, -9, True)


@pytest.mark.parametrize("wrong", [silence(1.0), tone(880, 1.0), tone(440, 1.0) // 4 + tone(880, 1.0) // 2])
def test_another_sound_is_no_tone(wrong: Samples) -> None:
    """Silence, another tone and a mixture in which another tone prevails are told."""
    with pytest.raises(AssertionError, match=r"expected 440 Hz at 0\.2 s, heard (silence|880 Hz)"):
        assert_tone(440, wrong, at=0.2)


def test_a_recording_is_heard_where_one_listens(tmp_path: Path) -> None:
    """In a file of two tones each is found at its own time, and the hole between them is silent."""
    samples = np.concatenate([tone(440, 1.0), silence(1.0), tone(880, 1.0)])
    path = recorded(tmp_path / "x.opus", samples, [(1.0, 2.0)])
    assert_tone(440, path, at=0.3)
    assert_silence(path, at=1.2)
    assert_tone(880, path, at=2.3)


def test_a_hole_does_not_shorten_a_recording(tmp_path: Path) -> None:
    """Lost packets are silence of the same length in what is decoded."""
    path = recorded(tmp_path / "x.opus", tone(440, 3.0), [(1.0, 1.5)])
    assert len(decode(path)) == 3 * 48_000


def test_sound_is_not_silence() -> None:
    """Asserting silence where there is a tone says which tone."""
    with pytest.raises(AssertionError, match="expected silence at 0 s, heard 440 Hz"):
        assert_silence(tone(440, 1.0), at=0)


def test_holes_take_the_packets_that_start_in_them() -> None:
    """A hole of 100 ms takes five packets of 20 ms; the others stay in order."""
    kept = with_holes(packets(tone(440, 1.0), TRACK, start=5.0), [(5.2, 5.3)])
    assert [each.sequence for each in kept] == [*range(10), *range(15, 50)]


@pytest.mark.parametrize("lag", [-30_000, -7, 0, 7, 30_000])
@pytest.mark.parametrize("window", [None, 1.0])
def test_a_shifted_quieter_copy_correlates(lag: int, window: float | None) -> None:
    """Delay, loss of the beginning and loudness do not count."""
    voice = decode(SPEECH / "pt/pt00.opus")
    copy = np.concatenate([np.zeros(max(lag, 0), np.int16), voice[max(-lag, 0) :] // 3])
    assert correlation(voice, copy, window=window) > 0.99


def test_a_lag_beyond_the_window_is_not_tried() -> None:
    """A copy that is a second late does not correlate within half a second."""
    voice = decode(SPEECH / "pt/pt00.opus", 16_000)
    late = np.concatenate([np.zeros(16_000, np.int16), voice])
    assert correlation(voice, late, window=0.5, rate=16_000) < 0.3


def test_other_voices_do_not_correlate() -> None:
    """Two people who say different things stay below 0.3."""
    assert correlation(SPEECH / "pt/pt00.opus", SPEECH / "en/en06.opus", rate=16_000) < 0.3


def test_silence_correlates_with_nothing() -> None:
    """Nothing to hear gives 0.0, not a division by zero."""
    assert correlation(silence(1.0), tone(440, 1.0)) == 0.0
    assert correlation(np.zeros(0, np.int16), tone(440, 1.0)) == 0.0
