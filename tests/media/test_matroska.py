"""Files of video, judged by a decoder that we did not write."""

from pathlib import Path

import numpy as np
import pytest

from tests.media.filming import assembled, film, numbers, pictures, written
from voki_bots.errors import FileWriteError
from voki_bots.media.matroska import MatroskaWriter, frame_times
from voki_bots.media.video import CODECS

both = pytest.mark.parametrize("codec", CODECS)


@both
def test_every_frame_is_decoded_in_order(codec: str, tmp_path: Path) -> None:
    """The file shows exactly what the camera shot."""
    written(tmp_path / "a.mkv", assembled(film(codec, 40))).close()
    assert numbers(tmp_path / "a.mkv") == list(range(40))


@both
def test_the_picture_has_its_colour(codec: str, tmp_path: Path) -> None:
    """Colours survive within what the codec loses."""
    written(tmp_path / "a.mkv", assembled(film(codec, 5, colour="green"))).close()
    middle = np.median(pictures(tmp_path / "a.mkv")[-1].reshape(-1, 3), axis=0)
    assert np.abs(middle - (40, 180, 60)).max() < 12


@both
def test_a_kill_loses_what_was_not_flushed_and_no_more(codec: str, tmp_path: Path) -> None:
    """A file that nobody closed decodes up to the last flush."""
    writer = written(tmp_path / "a.mkv", assembled(film(codec, 40)))
    (tmp_path / "b.mkv").write_bytes((tmp_path / "a.mkv").read_bytes())
    writer.close()
    assert numbers(tmp_path / "b.mkv") == list(range(30))


@both
def test_a_file_that_was_torn_anywhere_is_read_up_to_there(codec: str, tmp_path: Path) -> None:
    """Half a cluster gives the frames that are whole in it."""
    written(tmp_path / "a.mkv", assembled(film(codec, 60))).close()
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) - 200])
    found = len(list(frame_times(tmp_path / "b.mkv")))
    assert 45 < found < 60


def test_frames_are_at_their_time(tmp_path: Path) -> None:
    """To the millisecond, from the first frame on; a pause stays a pause."""
    frames = [f for f in assembled(film("vp8", 60)) if not 10 <= round(f.start * 15) < 40]
    written(tmp_path / "a.mkv", frames).close()
    times = [at for at, _ in frame_times(tmp_path / "a.mkv")]
    assert times == pytest.approx([f.start for f in frames], abs=0.0006)


def test_a_minute_without_a_flush_is_written_too(tmp_path: Path) -> None:
    """A cluster ends by itself before its blocks could not say their time."""
    frames = assembled(film("vp8", 900))
    with_all = MatroskaWriter(tmp_path / "a.mkv", frames[0])
    for frame in frames:
        with_all.write(frame)
    with_all.close()
    assert list(frame_times(tmp_path / "a.mkv"))[-1][0] == pytest.approx(899 / 15, abs=0.001)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    """A reader gets a sentence and no traceback of a library."""
    (tmp_path / "a.mkv").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="no file of video"):
        list(frame_times(tmp_path / "a.mkv"))


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Another track's pictures are never lost to a name."""
    (tmp_path / "a.mkv").touch()
    with pytest.raises(FileWriteError):
        MatroskaWriter(tmp_path / "a.mkv", assembled(film("vp8", 1))[0])
