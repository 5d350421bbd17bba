"""The film of a call, by what is seen and heard in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from voki_bots_recorder import Recorder, RecorderSettings

from tests.archive.recorded import Recorded
from tests.media.filming import Picture, film, flashing, pictures
from voki_bots.archive.composite import HEIGHT, RATE, STALE, WIDTH
from voki_bots.archive.finish import finish
from voki_bots.archive.seal import verify
from voki_bots.media.audiofile import read_audio
from voki_bots.sandbox.pictures import COLOURS
from voki_bots.testing import silence, tone

SETTINGS = RecorderSettings(video=True, participants=False, picture=False, stereo=False)


async def filmed(tmp_path: Path, *colours: str) -> Path:
    """A call of three seconds in which people of these colours are seen, and one of them is heard."""
    call = Recorded(tmp_path)
    async with call, Recorder(SETTINGS).attend(call):
        people = [call.join(f"P{n}", role="customer") for n in range(max(1, len(colours)))]
        await call.speak(people[0], tone(440, 3.0))
        for person, colour in zip(people, colours, strict=False):
            track = call.track(person, kind="video")
            await call.feed([replace(packet, track=track) for packet in film("vp8", 45, colour=colour)])
    call.folder.seal()
    call.folder.close()
    return call.directory


def colour_of(picture: Picture) -> str:
    """The name of the colour that a part of a picture is filled with; ``dark`` if it is none."""
    middle = np.median(picture.reshape(-1, 3), axis=0)
    near = {name: float(np.abs(middle - np.array(rgb)).max()) for name, rgb in COLOURS.items()}
    name = min(near, key=lambda each: near[each])
    return name if near[name] < 40 else "dark"


def tiles(picture: Picture) -> list[str]:
    """What is in each quarter of a picture."""
    rows, columns = HEIGHT // 2, WIDTH // 2
    return [colour_of(picture[y : y + rows, x : x + columns]) for y in (0, rows) for x in (0, columns)]


async def test_four_people_are_four_tiles_and_their_voices_the_mix(tmp_path: Path) -> None:
    """In order of their coming; the film is as long as the call, and is heard."""
    directory = await filmed(tmp_path, "red", "green", "blue", "yellow")
    made = finish(directory)["finish"]["outputs"]
    assert [each["kind"] for each in made] == ["mix", "composite", "thumbnail"] and verify(directory) == []
    seen = pictures(directory / "composite.webm")
    assert len(seen) == 3 * RATE and tiles(seen[45]) == ["red", "green", "blue", "yellow"]
    heard = read_audio(directory / "composite.webm")
    assert np.corrcoef(heard[4_800:96_000], read_audio(directory / "mix.opus")[4_800:96_000])[0, 1] > 0.99
    (small,) = pictures(directory / "thumbnail.jpg")
    assert small.shape == (180, 320, 3) and colour_of(small[:90, :160]) == "red"


async def test_one_person_fills_the_picture_and_two_are_side_by_side(tmp_path: Path) -> None:
    """Whole, whatever their shape."""
    one = await filmed(tmp_path / "one", "blue")
    finish(one)
    assert colour_of(pictures(one / "composite.webm")[45]) == "blue"
    two = await filmed(tmp_path / "two", "red", "green")
    finish(two)
    picture = pictures(two / "composite.webm")[45]
    middle = picture[HEIGHT // 4 : 3 * HEIGHT // 4]
    assert [colour_of(middle[:, :320]), colour_of(middle[:, 320:])] == ["red", "green"]


async def test_a_call_without_pictures_has_no_film(tmp_path: Path) -> None:
    """Nothing is made of nothing."""
    directory = await filmed(tmp_path)
    assert [each["kind"] for each in finish(directory)["finish"]["outputs"]] == ["mix"]


@pytest.mark.parametrize("late", [-0.3, 0.0, 0.4])
async def test_lips_and_voices_are_together_within_forty_milliseconds(tmp_path: Path, late: float) -> None:
    """A flash and a beep of one moment, whose tracks lie apart in call time, meet by the sender's clock."""
    call = Recorded(tmp_path)
    async with call, Recorder(SETTINGS).attend(call):
        person = call.join("Carl", role="customer")
        voice, camera = call.track(person), call.track(person, kind="video")
        await call.speak(voice, np.concatenate([silence(1.5), tone(1_000, 1.5)]))
        moved = [replace(p, track=camera, start=p.start + 0.5 + late) for p in flashing(1.0, 2.0)]
        await call.feed(moved)
        for track, position in ((voice, 1.5), (camera, 1.5 + late)):
            call.journal("sender_clock", track=str(track), ntp=3.9e9 + 7.0, position=position)
    call.folder.seal()
    call.folder.close()
    finish(call.directory)
    flash = (
        next(n for n, seen in enumerate(pictures(call.directory / "composite.webm")) if seen.mean() > 120)
        / RATE
    )
    heard = read_audio(call.directory / "composite.webm")
    beep = float(np.argmax(np.abs(heard) > 3_000)) / 48_000
    assert abs(flash - beep) <= 0.040 and flash == pytest.approx(1.5, abs=0.05)


async def test_a_camera_that_was_turned_off_is_dark(tmp_path: Path) -> None:
    """Its last picture is not shown for ever."""
    call = Recorded(tmp_path)
    async with call, Recorder(SETTINGS).attend(call):
        person = call.join("Carl", role="customer")
        await call.speak(person, tone(440, STALE + 2.0))
        track = call.track(person, kind="video")
        await call.feed([replace(packet, track=track) for packet in film("vp8", 10, colour="green")])
    call.folder.seal()
    call.folder.close()
    finish(call.directory)
    seen = pictures(call.directory / "composite.webm")
    assert [colour_of(seen[n]) for n in (5, len(seen) - 1)] == ["green", "dark"]


def test_the_film_can_be_played_by_anybody() -> None:
    """WebM with VP8 and Opus; what it is made with is there."""
    encoders: Any = av.codecs_available
    assert {"libvpx", "libopus", "mjpeg"} <= set(encoders)
