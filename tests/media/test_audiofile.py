"""Finished files hold what was written, exactly as long."""

from pathlib import Path

import numpy as np
import pytest

from voki_bots.errors import FileWriteError
from voki_bots.media.audiofile import FORMATS, audio_writer, read_audio
from voki_bots.testing import correlation, tone

LEFT, RIGHT = tone(440, 1.234), tone(700, 1.234)


def written(path: Path, samples: np.ndarray, rate: int = 48_000) -> Path:
    writer = audio_writer(path, rate, 1 if samples.ndim == 1 else samples.shape[1])
    for piece in np.array_split(samples, 7):
        writer.write(piece)
    writer.close()
    writer.close()
    return path


@pytest.mark.parametrize("format_", FORMATS)
def test_two_channels_stay_apart(tmp_path: Path, format_: str) -> None:
    """Left is left and right is right, each as long as it was, and like it."""
    path = written(tmp_path / f"stereo.{format_}", np.stack([LEFT, RIGHT], axis=1))
    heard = [read_audio(path, channel=channel) for channel in (0, 1)]
    assert [len(each) for each in heard] == [len(LEFT)] * 2
    assert min(correlation(heard[0], LEFT), correlation(heard[1], RIGHT)) > 0.99
    assert correlation(heard[0], RIGHT) < 0.3


@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_is_displaced(tmp_path: Path, format_: str) -> None:
    """A sample is where it was written: the encoder's delay is made good for."""
    click = np.zeros(48_000, dtype=np.int16)
    click[24_000:24_480] = tone(2_000, 0.01)
    heard = read_audio(written(tmp_path / f"mono.{format_}", click))
    assert int(np.argmax(np.correlate(heard.astype(float), click[24_000:24_480], "valid"))) == 24_000


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_is_private(tmp_path: Path, format_: str) -> None:
    """Nobody else may listen."""
    assert written(tmp_path / f"a.{format_}", LEFT).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("format_", FORMATS)
def test_what_exists_is_not_written_over(tmp_path: Path, format_: str) -> None:
    """The error names the file."""
    (tmp_path / f"a.{format_}").touch()
    with pytest.raises(FileWriteError, match=f"a.{format_}"):
        audio_writer(tmp_path / f"a.{format_}", 48_000)


def test_the_same_sound_is_the_same_file(tmp_path: Path) -> None:
    """Finishing a call twice gives the same bytes."""
    first, second = (written(tmp_path / f"{name}.opus", LEFT).read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize("name", ["a.mp3", "a"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="opus, flac, wav"):
        audio_writer(tmp_path / name, 48_000)


def test_what_is_no_audio_is_told(tmp_path: Path) -> None:
    """Reading text as audio is an error that names the file."""
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")
