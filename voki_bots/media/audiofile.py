"""Finished files of audio: Opus, FLAC or WAV of any number of channels, written and read block by block.

These are made after a call, so they need not survive a crash; what is written while a call runs is in
`voki_bots.media.containers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voki_bots.errors import FileWriteError
from voki_bots.media.containers import WavWriter
from voki_bots.units import SAMPLE_RATE

Pcm = npt.NDArray[np.int16]

FORMATS = ("opus", "flac", "wav")
"""What finished files can be; each is also the end of a file's name."""

BITRATE = 64_000
"""Bits per second of one Opus channel: at it, speech is like its original to more than 0.99."""

_CODECS = {"opus": ("ogg", "libopus"), "flac": ("flac", "flac")}
_LAYOUTS = {1: "mono", 2: "stereo"}


class AudioWriter(Protocol):
    """Takes samples in order of time; `close` makes the file whole and durable."""

    def write(self, samples: Pcm) -> None:
        """Append samples: shape (n,) for one channel, (n, channels) for more."""

    def close(self) -> None:
        """Finish the file; closing twice is fine."""


def audio_writer(path: Path, rate: int, channels: int = 1) -> AudioWriter:
    """Begin a new file, 0600, whose format is the end of its name: one of `FORMATS`.

    The same samples make the same bytes, with the same versions of the codecs.

    Raises:
        FileWriteError: If the file exists or the disk does not take it; also from the writer's methods.
        ValueError: If the format is none of ours.
    """
    format_ = path.suffix.removeprefix(".")
    if format_ == "wav":
        return WavWriter(path, rate, channels)
    if format_ not in _CODECS:
        raise ValueError(f"{path.name} is none of {', '.join(FORMATS)}")
    return _EncodedWriter(path, rate, channels, *_CODECS[format_])


class _EncodedWriter:
    """Writes through PyAV into a file that we open, for its mode must be 0600 from the beginning."""

    def __init__(self, path: Path, rate: int, channels: int, container: str, codec: str) -> None:
        import av

        self.path = path
        self._rate = rate
        self._layout = _LAYOUTS[channels]
        self._position = 0
        self._open = ExitStack()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = self._open.enter_context(os.fdopen(os.open(path, flags, 0o600), "w+b"))
            out: Any = av.open(self._file, "w", format=container, options={"fflags": "bitexact"})
            self._container = self._open.enter_context(out)
        except OSError as error:
            self._open.close()
            raise self._failed(error) from error
        self._stream: Any = self._container.add_stream(codec, rate=rate, layout=self._layout)
        if codec == "libopus":
            self._stream.bit_rate = BITRATE * channels
            # Complexity 5 takes half of the time of 10, and makes no difference in correlation.
            self._stream.options = {"application": "audio", "compression_level": "5"}

    def write(self, samples: Pcm) -> None:
        import av

        if not len(samples):
            return
        interleaved = np.ascontiguousarray(samples, dtype=np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += len(samples)
        self._encode(frame)

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            if self._position:
                self._encode(None)
            self._container.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self._open.close()

    def _encode(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except OSError as error:  # PyAV's own errors are subclasses of it
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> FileWriteError:
        return FileWriteError(
            f"{self.path} cannot be written: {error.strerror or error}", path=str(self.path)
        )


def audio_blocks(path: Path, rate: int = SAMPLE_RATE) -> Iterator[Pcm]:
    """Decode any file of audio, block by block.

    Args:
        path: The file.
        rate: Samples per second to give.

    Yields:
        int16, shape (n, channels).

    Raises:
        ValueError: If it is no file of audio. OSError if it cannot be read.
    """
    import av
    from av.audio.resampler import AudioResampler

    with path.open("rb") as file:
        try:
            container = av.open(file, "r")
        except av.error.InvalidDataError as error:
            raise ValueError(f"{path} is no file of audio") from error
        with container:
            if not container.streams.audio:
                raise ValueError(f"{path} has no audio")
            channels = container.streams.audio[0].codec_context.channels
            shape = (-1, min(channels, 2))
            resampler = AudioResampler(format="s16", layout=_LAYOUTS.get(channels, "stereo"), rate=rate)
            for frame in container.decode(audio=0):
                for made in resampler.resample(frame):
                    yield np.asarray(made.to_ndarray(), dtype=np.int16).reshape(shape)
            for made in resampler.resample(None):
                yield np.asarray(made.to_ndarray(), dtype=np.int16).reshape(shape)


def read_audio(path: Path, rate: int = SAMPLE_RATE, *, channel: int | None = None) -> Pcm:
    """Decode a whole file of audio: int16, shape (n,).

    Args:
        path: The file.
        rate: Samples per second to give.
        channel: Which channel, from 0; None takes their mean.
    """
    blocks = list(audio_blocks(path, rate))
    if not blocks:
        return np.zeros(0, dtype=np.int16)
    samples = np.concatenate(blocks)
    if channel is None:
        return np.asarray(samples.astype(np.int32).mean(axis=1).round(), dtype=np.int16)
    return samples[:, channel]
