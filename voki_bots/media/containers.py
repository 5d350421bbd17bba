"""Files of audio: Ogg/Opus packets as they came (RFC 7845), and WAV.

Both are written so that a kill -9 loses at most what came after the last `flush`. The Ogg pages are laid
out here and not by a muxer library, because a page must end where *we* flush and where a hole begins.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from voki_bots.media.encrypted import Keys, new_file, open_file
from voki_bots.media.newfile import NewFile
from voki_bots.units import SAMPLE_RATE

_PAGE = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 0x02, 0x04
_MAX_SEGMENTS = 255
_LARGEST_PAGE = _PAGE.size + 255 + 255 * 255
_READ = 1 << 16
_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))

VENDOR = b"voki-bots"


def ogg_checksum(data: bytes) -> int:
    """Compute the checksum of an Ogg page (RFC 3533 section 6, field 7).

    It is CRC-32 with the bits of bytes and register mirrored and without inversions, so zlib's does the
    work: mirror the input, undo zlib's inversions, mirror the result.
    """
    register = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(register.to_bytes(4, "little").translate(_REVERSED), "big")


class OggOpusWriter:
    """Writes Opus packets as they came into a new Ogg file.

    Pre-skip is 0, so the file decodes to exactly the sum of the packets' durations. A hole in the
    timestamps is a jump of the granule position from one page to the next, which is how RFC 7845
    section 4 lets a reader see what is missing.

    Args:
        path: Must not exist.
        serial: Serial number of the logical stream.
        channels: 1 or 2, as the decoder shall give them; the packets need not agree (RFC 7845 section 5.1.1).
        tags: Comments for the header, such as the call and the track.
        recipients: Public keys of age; with any, only who has a key of theirs can read the file.

    Raises:
        FileWriteError: From every method, if the disk does not take it.
    """

    def __init__(
        self,
        path: Path,
        *,
        serial: int = 1,
        channels: int = 1,
        tags: Mapping[str, str] | None = None,
        recipients: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.packets = 0
        self.samples = 0
        self._serial = serial & 0xFFFFFFFF
        self._number = 0
        self._pending: list[bytes] = []
        self._segments = 0
        self._position: int | None = None
        self._ticks = 0
        self._file = new_file(path, recipients)
        self._page([struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, 0, SAMPLE_RATE, 0, 0)], 0, _FIRST)
        self._page([_comments(tags or {})], 0)

    @property
    def end(self) -> int | None:
        """Where the last packet ended, in ticks of the timestamps given; None before the first."""
        return self._position

    def write(self, payload: bytes, timestamp: int, duration: int) -> None:
        """Append a packet.

        Args:
            payload: One Opus packet.
            timestamp: Where it starts, in samples at 48 kHz; a step back is taken as "directly after".
            duration: Samples at 48 kHz that it decodes to.
        """
        segments = len(payload) // 255 + 1
        hole = self._position is not None and timestamp > self._position
        if hole or self._segments + segments > _MAX_SEGMENTS:
            self.flush()
        if self._position is None or timestamp > self._position:
            self._position = timestamp
        self._pending.append(payload)
        self._segments += segments
        self._position += duration
        self._ticks += duration
        self.packets += 1
        self.samples += duration

    def flush(self) -> None:
        """End the page here: a kill after this loses nothing that was written before."""
        if self._pending and self._position is not None:
            self._page(self._pending, self._position)
            self._pending, self._segments, self._ticks = [], 0, 0

    def close(self) -> None:
        """Write the last page and make the file durable; closing twice is fine."""
        if self._number < 0:
            return
        try:
            self._page(self._pending, self._position or 0, _LAST)
        finally:
            self._pending, self._segments, self._number = [], 0, -1
            self._file.close()

    def _page(self, packets: list[bytes], granule: int, flags: int = 0) -> None:
        lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
        header = _PAGE.pack(b"OggS", 0, flags, granule, self._serial, self._number, 0, len(lacing))
        page = bytearray(b"".join([header, lacing, *packets]))
        page[22:26] = struct.pack("<I", ogg_checksum(bytes(page)))
        self._file.write(bytes(page), (granule - self._ticks, granule) if packets and self._ticks else None)
        self._number += 1


def _comments(tags: Mapping[str, str]) -> bytes:
    """Lay out the comment header (RFC 7845 section 5.2), kept within one page."""
    entries = [f"{k}={v}".encode("utf-8", "replace")[:4096] for k, v in list(tags.items())[:12]]
    parts = [b"OpusTags", struct.pack("<I", len(VENDOR)), VENDOR, struct.pack("<I", len(entries))]
    for entry in entries:
        parts += [struct.pack("<I", len(entry)), entry]
    return b"".join(parts)


def _pages(file: BinaryIO) -> Iterator[tuple[int, list[bytes]]]:
    """Yield granule position and packets of each whole, sound page, holding no more than two in memory.

    A page that is damaged, or torn at the end, is left out; reading goes on at the next one.
    """
    held = b""
    while True:
        more = file.read(_READ) if len(held) < _LARGEST_PAGE else b""
        held += more
        size, page = _first_page(held)
        if page is not None:
            yield page
        elif size == 0 and not more:
            return
        held = held[size:]


def _first_page(data: bytes) -> tuple[int, tuple[int, list[bytes]] | None]:
    """Parse the page at the beginning of `data`.

    Returns:
        How many bytes are done with, and the page. Without a sound page there, the bytes up to where the
        next may begin; 0 if more bytes are needed to tell.
    """
    if len(data) < _PAGE.size:
        return 0, None
    magic, _, _, granule, _, _, checksum, count = _PAGE.unpack_from(data)
    if magic == b"OggS":
        body = _PAGE.size + count
        lacing = data[_PAGE.size : body]
        end = body + sum(lacing)
        if len(lacing) == count and end <= len(data):
            if ogg_checksum(data[:22] + bytes(4) + data[26:end]) == checksum:
                return end, (granule, _packets_of(data, body, lacing))
        elif len(data) < _LARGEST_PAGE and data.find(b"OggS", 4) < 0:
            return 0, None
    found = data.find(b"OggS", 1)
    return (found if found > 0 else len(data) - 3), None


def _packets_of(data: bytes, at: int, lacing: bytes) -> list[bytes]:
    packets, size = [], 0
    for value in lacing:
        size += value
        if value < 255:
            packets.append(data[at : at + size])
            at, size = at + size, 0
    return packets


def opus_packets(path: Path, keys: Keys | None = None) -> Iterator[tuple[int, bytes]]:
    """Read the packets of an Ogg/Opus file of ours one by one, also of one that a kill left without an end.

    Args:
        path: The file.
        keys: What decrypts it, if it is encrypted.

    Yields:
        For each packet its timestamp in samples at 48 kHz and its payload.

    Raises:
        ValueError: If it is no Ogg/Opus file. OSError if it cannot be read.
    """
    from voki_bots.media.opus import packet_ticks

    with open_file(path, keys) as file:
        pages = _pages(file)
        _, head = next(pages, (0, []))
        if not head or not head[0].startswith(b"OpusHead"):
            raise ValueError(f"{path} is no Ogg/Opus file")
        for granule, packets in pages:
            if packets and packets[0].startswith(b"OpusTags"):
                continue
            durations = [packet_ticks(p) for p in packets]
            at = granule - sum(durations)
            for payload, duration in zip(packets, durations, strict=True):
                yield at, payload
                at += duration


def read_opus(path: Path) -> list[tuple[int, bytes]]:
    """Read all packets of an Ogg/Opus file of ours; see `opus_packets`."""
    return list(opus_packets(path))


def is_track(path: Path) -> bool:
    """Whether an Ogg file was written by `OggOpusWriter`; OSError if it cannot be read."""
    with path.open("rb") as file:
        pages = list(itertools.islice(_pages(file), 2))
    return len(pages) == 2 and bool(pages[1][1]) and pages[1][1][0][12:].startswith(VENDOR)


def read_tags(path: Path) -> dict[str, str]:
    """Read the comments of an Ogg/Opus file of ours; ValueError if it has none."""
    with path.open("rb") as file:
        pages = list(itertools.islice(_pages(file), 2))
    if len(pages) < 2 or not pages[1][1] or not pages[1][1][0].startswith(b"OpusTags"):
        raise ValueError(f"{path} has no comment header")
    body = pages[1][1][0]
    at = 12 + struct.unpack_from("<I", body, 8)[0]
    (count,) = struct.unpack_from("<I", body, at)
    at, found = at + 4, {}
    for _ in range(count):
        (size,) = struct.unpack_from("<I", body, at)
        key, _, value = body[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
        found[key] = value
        at += 4 + size
    return found


def decode_file(path: Path, rate: int = SAMPLE_RATE, *, fill: bool = True) -> npt.NDArray[np.int16]:
    """Decode an Ogg/Opus file of ours to mono int16 at `rate`.

    Args:
        path: The file.
        rate: 8000, 12000, 16000, 24000 or 48000.
        fill: True puts silence where timestamps have holes; False gives the packets alone, one after another.

    Returns:
        Samples from the first packet on, shape (n,).
    """
    from voki_bots.media.opus import Decoder

    decoder, parts, position = Decoder(rate), [], None
    for timestamp, payload in read_opus(path):
        if fill and position is not None and timestamp > position:
            parts.append(np.zeros((timestamp - position) * rate // SAMPLE_RATE, dtype=np.int16))
        samples = decoder.decode(payload)
        parts.append(samples)
        position = timestamp + len(samples) * SAMPLE_RATE // rate
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)


class WavWriter:
    """Writes 16-bit PCM into a new WAV file whose header is right after every `flush`.

    Raises:
        FileWriteError: From every method, if the disk does not take it.
    """

    def __init__(self, path: Path, rate: int, channels: int = 1) -> None:
        self.path = path
        self.samples = 0
        self._channels = channels
        self._size = 0
        self._file = NewFile(path)
        step = 2 * channels
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * step, step, 16)
        self._file.write(b"RIFF" + bytes(4) + b"WAVE" + form + b"data" + bytes(4))
        self.flush()

    def write(self, samples: npt.NDArray[np.int16]) -> None:
        """Append samples: shape (n,) for one channel, (n, channels) for more."""
        data = np.ascontiguousarray(samples, dtype="<i2").tobytes()
        self._file.write(data)
        self._size += len(data)
        self.samples += len(samples)

    def flush(self) -> None:
        """Bring the sizes in the header up to date; more than 4 GiB cannot be said there."""
        self._file.patch(4, struct.pack("<I", min(self._size + 36, 0xFFFFFFFF)))
        self._file.patch(40, struct.pack("<I", min(self._size, 0xFFFFFFFF)))

    def close(self) -> None:
        """Finish the header and make the file durable; closing twice is fine."""
        if not self._file.closed:
            self.flush()
            self._file.close()
