"""What the service and a recognition process tell each other, over a socket between the two. Pure.

Little-endian: u8 kind, u32 stream, i64 position, u32 length, and so many bytes. A position counts the
samples that a stream was fed with: in `Kind.AUDIO` that of the first, elsewhere just after the last one
that it is about.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

HEAD = struct.Struct("<BIqI")
LONGEST = 1 << 24


class Kind(IntEnum):
    """What a message is. The first five go to the recognition process, the others come from it."""

    CONFIGURE = 1
    """JSON: what to load."""
    AUDIO = 2
    """PCM of a stream; partials are wanted."""
    AUDIO_QUIETLY = 3
    """PCM of a stream; partials are not wanted, for they would make it later still."""
    END = 4
    """The utterance of a stream ends here."""
    CLOSE = 5
    """The stream is over."""
    READY = 6
    """JSON: what was loaded."""
    FAILED = 7
    """Text: why nothing could be loaded; the process ends."""
    PARTIAL = 8
    """Text of the utterance that is going on."""
    FINAL = 9
    """JSON of a `Result`; its times are positions."""
    TAKEN = 10
    """What was sent up to here is done with."""
    WARM = 11
    """So many recognisers (the position) have heard speech."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    kind: Kind
    stream: int = 0
    position: int = 0
    body: bytes = b""

    def encoded(self) -> bytes:
        """Give its bytes."""
        return HEAD.pack(self.kind, self.stream, self.position, len(self.body)) + self.body


class Reader:
    """Puts messages together from pieces of any size."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Take a piece; give the messages that are whole.

        Raises:
            ValueError: If it is nothing that we write.
        """
        self._bytes += piece
        while len(self._bytes) >= HEAD.size:
            kind, stream, position, length = HEAD.unpack_from(self._bytes)
            if length > LONGEST:
                raise ValueError(f"a message of {length} bytes; at most {LONGEST} are allowed")
            whole = HEAD.size + length
            if len(self._bytes) < whole:
                return
            body = bytes(self._bytes[HEAD.size : whole])
            del self._bytes[:whole]
            yield Message(Kind(kind), stream, position, body)
