"""What moves through a call's pipeline, and what it moves into.

Two lanes: `Packet` is encoded media as it came, the unit of the recording; `AudioFrame` is PCM, made only
where somebody listens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from voki_bots.calls import Track

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(slots=True, eq=False)
class Packet:
    """One encoded RTP payload with its place in the call. Treat it as immutable.

    Not a frozen dataclass because one is made 50 times per second and stream, and freezing triples its cost.

    Attributes:
        track: The track it belongs to.
        payload: The encoded medium, without RTP header and padding.
        timestamp: RTP timestamp in ticks of the clock rate, unwrapped to grow beyond 32 bits.
        sequence: RTP sequence number, unwrapped to grow beyond 16 bits.
        start: Seconds of call time.
        duration: Ticks it lasts (for Opus: samples at 48 kHz, from its TOC byte, RFC 6716 section 3.1).
        arrival: When it was received, in seconds of the event loop's clock.
        level: Audio level in dBov from the header extension (RFC 6464), or None.
    """

    track: Track
    payload: bytes
    timestamp: int
    sequence: int
    start: float
    duration: int
    arrival: float
    level: int | None = None


@dataclass(slots=True, eq=False)
class VideoPacket(Packet):
    """One RTP payload of a picture, or of none: an empty one only counts in the sequence.

    Attributes:
        codec: ``vp8`` or ``h264``.
        marker: It is the last of its frame, as far as the sender says so.
    """

    codec: str = ""
    marker: bool = False


@dataclass(slots=True, eq=False)
class AudioFrame:
    """PCM of one track. Treat it as immutable.

    Attributes:
        track: The track it was decoded from.
        samples: Mono int16, shape (n,).
        rate: Samples per second.
        start: Seconds of call time of the first sample.
        concealed: True if no packet stands behind it (loss concealment, or silence for a gap).
    """

    track: Track
    samples: npt.NDArray[np.int16]
    rate: int
    start: float
    concealed: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    @property
    def end(self) -> float:
        """Seconds of call time just after its last sample."""
        return self.start + self.seconds


class Sink(Protocol[T_contra]):
    """Where packets or frames end.

    It is called from its plugin's own thread, never from the event loop: it may block for a moment, write
    a file, or call a C library. One that raises or stalls is detached; nothing else notices.

    A sink that is in no hurry may have an attribute ``pace``: seconds, at most 0.2, that items may wait for
    each other before the thread is woken. Fewer wake-ups cost less.
    """

    def write(self, item: T_contra) -> None:
        """Take one packet or frame."""

    def flush(self) -> None:
        """Make durable what was written; called about once a second, and before `close`."""

    def close(self) -> None:
        """Take no more; called once."""


class Filter(Protocol):
    """Changes frames on their way to a sink. Synchronous; it may hold frames back until `flush`."""

    def process(self, frame: AudioFrame) -> Iterable[AudioFrame]:
        """Take one frame, give any number."""

    def flush(self) -> Iterable[AudioFrame]:
        """Give what was held back; the track ends or pauses here."""
