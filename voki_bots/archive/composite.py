"""The film of a call: up to four pictures side by side, with the mix; and a small picture of it.

Pictures are decoded as they are needed and drawn at a constant rate, each where its sender reports put it
beside the voice that belongs to it. VP8 and Opus in WebM play in any browser, and can be written without
going back, as an encrypted file must be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from voki_bots.archive.recover import track_path
from voki_bots.media.encrypted import Keys, open_file
from voki_bots.media.mixing import Mixer
from voki_bots.units import SAMPLE_RATE

COMPOSITE, THUMBNAIL = "composite.webm", "thumbnail.jpg"
WIDTH, HEIGHT = 640, 360
RATE = 30
"""Frames per second: one is shown within 17 ms of its time."""

TILES = 4
STALE = 3.0
"""Seconds after its last frame for which a picture is still shown; then its tile is dark."""

BITRATE = 600_000
THUMBNAIL_SIZE = (320, 180)

Pixels = npt.NDArray[np.uint8]
Heard = Callable[[int, int], "npt.NDArray[np.int16] | None"]
"""Gives the mix between two samples at 48 kHz, or None where nobody is heard."""


@dataclass(slots=True)
class Film:
    """All pictures of one camera or screen, in order.

    Attributes:
        track: The track's facts in the sidecar.
        shift: Seconds to add to its times, so that it fits to the voice of whom it shows.
    """

    track: Mapping[str, Any]
    frames: Generator[tuple[float, Any], None, None]
    shift: float = 0.0
    _next: tuple[float, Any] | None = field(default=None)
    _shown: tuple[float, Any] | None = field(default=None)
    _drawn: Pixels | None = field(default=None)

    def at(self, time: float, size: tuple[int, int]) -> Pixels | None:
        """Give the picture that is to be seen at a call time, uint8 of shape (height, width, 3), or None.

        Times must not go back.
        """
        while True:
            if self._next is None:
                self._next = next(self.frames, None)
            if self._next is None or self._next[0] + self.shift > time:
                break
            self._shown, self._next, self._drawn = self._next, None, None
        if self._shown is None or time - self._shown[0] - self.shift > STALE:
            return None
        if self._drawn is None or self._drawn.shape[:2] != size[::-1]:
            self._drawn = _fitted(self._shown[1], size)
        return self._drawn


def films(directory: Path, sidecar: Mapping[str, Any], keys: Keys | None) -> list[Film]:
    """Every film of a call that can be read, in order of their beginnings, on the clocks of the voices."""
    found = []
    for track in sorted(sidecar["tracks"], key=lambda each: (each["file_start"] or 0.0, each["id"])):
        path = track_path(directory, track) if track["kind"] == "video" else None
        if path is not None:
            frames = _frames(path, float(track["file_start"]), keys)
            found.append(Film(track, frames, _shift(sidecar["tracks"], track)))
    return found


def compose(
    found: Sequence[Film], heard: Heard, duration: float, out: Any, *, progress: Callable[[float], None]
) -> Pixels | None:
    """Write the film of a call.

    Args:
        found: Its pictures; those after the fourth at one time are not shown.
        heard: Its mix.
        duration: Seconds.
        out: A file that PyAV can write to.
        progress: Told the share that is done.

    Returns:
        What is seen after a third of it, or None if there never is anything.
    """
    import av

    container: Any = av.open(out, "w", format="webm", options={"fflags": "bitexact"})
    with container:
        video = container.add_stream("libvpx", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.bit_rate, video.time_base = BITRATE, Fraction(1, RATE)
        video.options = {"deadline": "realtime", "cpu-used": "8", "g": str(4 * RATE)}
        audio = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        thumbnail: Pixels | None = None
        total, third = max(1, round(duration * RATE)), round(duration * RATE) // 3
        for number in range(total):
            if number % RATE == 0:
                _sound(container, audio, heard, number * SAMPLE_RATE // RATE, total)
            picture, seen = _tiled(found, number / RATE + 0.5 / RATE)
            if seen and (thumbnail is None or number <= third):
                thumbnail = picture
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
            progress(number / total)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    for film in found:
        film.frames.close()
    return thumbnail


def thumbnail_of(picture: Pixels) -> bytes:
    """Make a JPEG of a picture, `THUMBNAIL_SIZE` at most."""
    import av

    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height = THUMBNAIL_SIZE
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 1)
    small = frame.reformat(*THUMBNAIL_SIZE, format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(small), *codec.encode(None)])


def _sound(container: Any, stream: Any, heard: Heard, begin: int, frames: int) -> None:
    import av

    size = min(SAMPLE_RATE, frames * SAMPLE_RATE // RATE - begin)
    samples = heard(begin, begin + size)
    if samples is None:
        samples = Mixer().mix([], size)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
    container.mux(stream.encode(frame))


def _tiled(found: Sequence[Film], time: float) -> tuple[Pixels, bool]:
    """Lay out what is to be seen at a time; say whether that is anything."""
    many = len(found) > 1
    size = (WIDTH // 2, HEIGHT // 2) if many else (WIDTH, HEIGHT)
    pictures = [picture for film in found if (picture := film.at(time, size)) is not None][:TILES]
    canvas = np.full((HEIGHT, WIDTH, 3), 16, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        left = index % 2 * size[0]
        # Two are side by side in the middle.
        top = index // 2 * size[1] if len(pictures) > 2 else (HEIGHT - size[1]) // 2
        canvas[top : top + size[1], left : left + size[0]] = picture
    return canvas, bool(pictures)


def _fitted(frame: Any, size: tuple[int, int]) -> Pixels:
    """Scale a picture into a tile, whole, with dark borders where it has another shape."""
    width, height = size
    scale = min(width / frame.width, height / frame.height)
    inner = max(2, int(frame.width * scale) & ~1), max(2, int(frame.height * scale) & ~1)
    pixels = frame.reformat(*inner, format="rgb24").to_ndarray()
    tile = np.full((height, width, 3), 16, dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    tile[top : top + inner[1], left : left + inner[0]] = pixels
    return tile


def _frames(path: Path, start: float, keys: Keys | None) -> Generator[tuple[float, Any], None, None]:
    """Decode a file of pictures: seconds of call time, and a frame."""
    import av

    with open_file(path, keys) as file:
        try:
            container: Any = av.open(file, "r")
        except av.error.InvalidDataError:
            return
        with container:
            try:
                for frame in container.decode(video=0):
                    if frame.time is not None:
                        yield start + float(frame.time), frame
            except av.error.InvalidDataError:
                return


def _shift(tracks: Sequence[Mapping[str, Any]], film: Mapping[str, Any]) -> float:
    """By how much pictures must be moved to fit to the voice, as sender reports say (RFC 3550 section 6.4.1).

    Both reports speak of one clock of the sender's. What lies between that and call time must be the same.
    """
    mine = film["sync"]
    voices = [
        each["sync"]
        for each in tracks
        if each["kind"] == "audio"
        and each["sync"]
        and film["participant"]
        and each["participant"] == film["participant"]
        and each["id"].partition(":")[0] == film["id"].partition(":")[0]
    ]
    if not mine or not voices:
        return 0.0
    return float(median(at - ntp for ntp, at in voices[0]) - median(at - ntp for ntp, at in mine))
