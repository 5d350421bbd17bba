"""libopus at the rate wanted, with concealment, through cffi.

FFmpeg cannot conceal, and decodes to what the stream says instead of what is wanted. The library is the
system's, or the copy that comes inside the av wheel. Calls release the GIL. A codec object belongs to one
thread at a time.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voki_bots.errors import MediaError
from voki_bots.units import SAMPLE_RATE

RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
MAX_SECONDS = 0.12

SILENT_PACKET = b"\xf8\xff\xfe"
"""20 ms of digital silence: a CELT packet without coded bands (RFC 6716 section 3.1)."""

_DECLARATIONS = """
typedef struct OpusDecoder OpusDecoder;
typedef struct OpusEncoder OpusEncoder;
OpusDecoder *opus_decoder_create(int32_t rate, int channels, int *error);
int opus_decode(OpusDecoder *st, const unsigned char *data, int32_t len, int16_t *pcm, int size, int fec);
void opus_decoder_destroy(OpusDecoder *st);
OpusEncoder *opus_encoder_create(int32_t rate, int channels, int application, int *error);
int32_t opus_encode(OpusEncoder *st, const int16_t *pcm, int size, unsigned char *data, int32_t max);
int opus_encoder_ctl(OpusEncoder *st, int request, ...);
void opus_encoder_destroy(OpusEncoder *st);
const char *opus_get_version_string(void);
"""
_APPLICATION_VOIP = 2048
_SET_BITRATE, _SET_INBAND_FEC, _SET_PACKET_LOSS, _SET_DTX = 4002, 4012, 4014, 4016

_SILK_TICKS = (480, 960, 1920, 2880)
_HYBRID_TICKS = (480, 960)
_CELT_TICKS = (120, 240, 480, 960)
_FRAME_TICKS = _SILK_TICKS * 3 + _HYBRID_TICKS * 2 + _CELT_TICKS * 4
_PACKET_TICKS = tuple(ticks * frames for ticks in _FRAME_TICKS for frames in (1, 2, 2, -1) * 2)
"""By first byte; negative, for one frame, where the second byte counts the frames."""


def packet_ticks(payload: bytes) -> int:
    """Say how long an Opus packet lasts, in samples at 48 kHz, from its first bytes (RFC 6716 section 3.1).

    Pure. An empty packet, or one that claims more than 120 ms, lasts 0: it is no valid packet.
    """
    if not payload:
        return 0
    ticks = _PACKET_TICKS[payload[0]]
    if ticks > 0:
        return ticks
    count = payload[1] & 0x3F if len(payload) > 1 else 0
    return -ticks * count if -ticks * count <= MAX_SECONDS * SAMPLE_RATE else 0


def _places() -> list[str]:
    found = ["libopus.so.0", "libopus.0.dylib", "opus.dll"]
    if (spec := importlib.util.find_spec("av")) is not None and spec.origin:
        beside = Path(spec.origin).parent.parent / "av.libs"
        found += [str(p) for p in sorted(beside.glob("libopus*"))]
    return found


@functools.cache
def _library() -> tuple[Any, Any]:
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    for place in _places():
        try:
            return ffi, ffi.dlopen(place)
        except OSError:
            continue
    raise MediaError("libopus is not installed: install Debian's libopus0, or the av wheel that carries it")


def version() -> str:
    """Name the libopus in use; MediaError if there is none."""
    ffi, lib = _library()
    return str(ffi.string(lib.opus_get_version_string()).decode())


class Decoder:
    """Decodes one stream to mono int16.

    Args:
        rate: One of `RATES`.

    Raises:
        MediaError: If there is no libopus, or the rate is none of its rates.
    """

    def __init__(self, rate: int = SAMPLE_RATE) -> None:
        if rate not in RATES:
            raise MediaError(
                f"Opus cannot be decoded at {rate} Hz; choose one of {', '.join(map(str, RATES))}"
            )
        self.rate = rate
        self._ffi, self._lib = _library()
        error = self._ffi.new("int *")
        self._state = self._ffi.gc(
            self._lib.opus_decoder_create(rate, 1, error), self._lib.opus_decoder_destroy
        )
        self._room = np.empty(int(MAX_SECONDS * rate), dtype=np.int16)
        self._pcm = self._ffi.from_buffer("int16_t[]", self._room)
        self._longest = len(self._room)
        self._batch = np.empty(3 * self._longest, dtype=np.int16)
        self._batch_pcm = self._ffi.from_buffer("int16_t[]", self._batch)
        self._count = 0

    def decode(self, payload: bytes) -> npt.NDArray[np.int16]:
        """Decode one packet: shape (n,), n as `packet_ticks` says at 48 kHz.

        A packet that is broken is concealed for as long as it claims to last, for a stream goes on.
        """
        count = self._call(payload, len(self._room), fec=False) if payload else 0
        if count < 0:
            return self.conceal(packet_ticks(payload) * self.rate // SAMPLE_RATE)
        return self._room[:count].copy()

    def collect(self, payload: bytes) -> int:
        """Decode one packet behind those collected before, which `collected` gives all at once.

        Args:
            payload: The packet; a broken one is concealed.

        Returns:
            How many samples are collected now; take them at a fifth of a second, at the latest.
        """
        at = self._count
        room = self._batch_pcm + at if at else self._batch_pcm
        size = min(self._longest, len(self._batch) - at)
        count = self._lib.opus_decode(self._state, payload, len(payload), room, size, 0) if payload else 0
        if count < 0:
            made = self.conceal(min(size, packet_ticks(payload) * self.rate // SAMPLE_RATE))
            count = len(made)
            self._batch[at : at + count] = made
        self._count = at + int(count)
        return self._count

    def collected(self) -> npt.NDArray[np.int16]:
        """Give what was collected: shape (n,), and begin anew."""
        count, self._count = self._count, 0
        return self._batch[:count].copy()

    def conceal(self, samples: int) -> npt.NDArray[np.int16]:
        """Make up for what is missing, fading out: shape (samples,), in steps of 2.5 ms, the rest silent."""
        return self._fill(None, samples)

    def recover(self, payload: bytes, samples: int) -> npt.NDArray[np.int16]:
        """Recover the packet before `payload` from its in-band redundancy, or conceal it (RFC 6716 2.1.7)."""
        return self._fill(payload, samples)

    def _fill(self, payload: bytes | None, samples: int) -> npt.NDArray[np.int16]:
        made = np.zeros(samples, dtype=np.int16)
        at, unit = 0, self.rate // 400
        own = packet_ticks(payload) * self.rate // SAMPLE_RATE if payload else 0
        while (left := (samples - at) // unit * unit) > 0:
            last = payload is not None and own > 0 and left <= own
            size = left if last else min(left - own if own and left > own else left, self.rate // 50)
            count = self._call(payload if last else None, size, fec=last)
            if count <= 0:
                break
            made[at : at + count] = self._room[:count]
            at += count
        return made

    def _call(self, payload: bytes | None, size: int, *, fec: bool) -> int:
        pointer = self._ffi.NULL if payload is None else payload
        length = 0 if payload is None else len(payload)
        return int(self._lib.opus_decode(self._state, pointer, length, self._pcm, size, int(fec)))


class Encoder:
    """Encodes mono int16 for speech.

    Args:
        rate: One of `RATES`.
        bitrate: Bits per second.
        fec: Carry a poorer copy of each packet in the next one.
        dtx: Send next to nothing in silence.
    """

    def __init__(
        self, rate: int = SAMPLE_RATE, *, bitrate: int = 32_000, fec: bool = False, dtx: bool = False
    ) -> None:
        if rate not in RATES:
            raise MediaError(
                f"Opus cannot be encoded at {rate} Hz; choose one of {', '.join(map(str, RATES))}"
            )
        self.rate = rate
        self._ffi, self._lib = _library()
        error = self._ffi.new("int *")
        create = self._lib.opus_encoder_create
        self._state = self._ffi.gc(create(rate, 1, _APPLICATION_VOIP, error), self._lib.opus_encoder_destroy)
        self._out = self._ffi.new("unsigned char[]", 1275)
        self._set(_SET_BITRATE, bitrate)
        if fec:
            self._set(_SET_INBAND_FEC, 1)
            self._set(_SET_PACKET_LOSS, 20)
        if dtx:
            self._set(_SET_DTX, 1)

    def encode(self, samples: npt.NDArray[np.int16]) -> bytes:
        """Encode one frame: shape (n,), 2.5 to 60 ms as RFC 6716 section 2.1.4 allows."""
        pcm = self._ffi.from_buffer("int16_t[]", np.ascontiguousarray(samples, dtype=np.int16))
        size = int(self._lib.opus_encode(self._state, pcm, len(samples), self._out, 1275))
        if size < 0:
            raise MediaError(f"libopus cannot encode a frame of {len(samples)} samples (code {size})")
        return bytes(self._ffi.buffer(self._out, size))

    def _set(self, request: int, value: int) -> None:
        self._lib.opus_encoder_ctl(self._state, request, self._ffi.cast("int", value))
