"""Finished files of audio: Opus, FLAC or WAV of any number of channels, written and read block by block.

These are made after a call, so they need not survive a crash; what is written while a call runs is in
`voki_bots.media.containers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from voki_bots.errors import FileWriteError
from voki_bots.media.containers import WavWriter
from voki_bots.media.encrypted import ENDING, EncryptedFile
from voki_bots.units import SAMPLE_RATE

Pcm = npt.NDArray[np.int16]

FORMATS = ("opus", "flac", "wav")
"""What finished files can be; each is also the end of a file's name."""

BITRATE = 64_000
"""Bits per second of one Opus channel: at it, speech is like its original to more than 0.99."""

_CHUNK = 1 << 16

_CODECS = {"opus": ("ogg", "libopus"), "flac": ("flac", "flac")}
_LAYOUTS = {1: "mono", 2: "stereo"}


class AudioWriter(Protocol):
    """Takes samples in order of time; `close` makes the file whole and durable."""

    def write(self, samples: Pcm) -> None:
        """Append samples: shape (n,) for one channel, (n, channels) for more."""

    def close(self) -> None:
        """Finish the file; closing twice is fine."""


def audio_writer(path: Path, rate: int, channels: int = 1, *, recipients: Sequence[str] = ()) -> AudioWriter:
    """Begin a new file, 0600, whose format is the end of its name: one of `FORMATS`.

    The same samples make the same bytes, with the same versions of the codecs.

    Args:
        path: Must not exist.
        rate: Samples per second.
        channels: 1 or 2.
        recipients: Public keys of age; with any the file is encrypted, and called ``<name>.enc``. A WAV file
            cannot be, for its head is written last.

    Raises:
        FileWriteError: If the file exists or the disk does not take it; also from the writer's methods.
        ValueError: If the format is none of ours.
    """
    format_ = path.suffix.removeprefix(".")
    if format_ == "wav" and not recipients:
        return WavWriter(path, rate, channels)
    if format_ not in _CODECS:
        raise ValueError(f"{path.name} is none of {', '.join(FORMATS)}")
    return _EncodedWriter(path, binary_file(path, recipients), rate, channels, *_CODECS[format_])


def binary_file(path: Path, recipients: Sequence[str] = ()) -> Any:
    """Begin a new file, 0600, that PyAV can write to; with recipients it is encrypted: ``<name>.enc``.

    Raises:
        FileWriteError: If the file exists or the disk does not take it.
    """
    if recipients:
        return _Encrypting(EncryptedFile(path.with_name(path.name + ENDING), recipients))
    return _created(path)


def _created(path: Path) -> BinaryIO:
    """Open a new file whose mode is 0600 from the beginning."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: OSError) -> FileWriteError:
    return FileWriteError(f"{path} cannot be written: {error.strerror or error}", path=str(path))


class _Encrypting:
    """What PyAV may write to; it only grows."""

    def __init__(self, file: EncryptedFile) -> None:
        self._file = file
        self._waiting = bytearray()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, data: bytes) -> int:
        self._waiting += data
        if len(self._waiting) >= _CHUNK:
            self._spill()
        return len(data)

    def flush(self) -> None:
        """Wait for more: a chunk for every few bytes would be waste."""

    def close(self) -> None:
        if not self.closed:
            self._spill()
            self._file.close()

    def _spill(self) -> None:
        waiting, self._waiting = bytes(self._waiting), bytearray()
        self._file.write(waiting)


class _EncodedWriter:
    """Writes through PyAV into a file that we opened."""

    def __init__(self, path: Path, file: Any, rate: int, channels: int, container: str, codec: str) -> None:
        import av

        self.path = path
        self._rate = rate
        self._layout = _LAYOUTS[channels]
        self._position = 0
        self._file = file
        self._open = ExitStack()
        self._open.callback(file.close)
        try:
            out: Any = av.open(file, "w", format=container, options={"fflags": "bitexact"})
            self._container = self._open.enter_context(out)
        except OSError as error:
            self._open.close()
            raise _failed(path, error) from error
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
            if not isinstance(self._file, _Encrypting):  # which is durable when it is closed
                os.fsync(self._file.fileno())
        except OSError as error:
            raise _failed(self.path, error) from error
        finally:
            self._open.close()

    def _encode(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except OSError as error:  # PyAV's own errors are subclasses of it
            raise _failed(self.path, error) from error


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
