"""What waits for a recognition process: in memory first, then in an encrypted file of a stated size."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from voki_bots_transcriber.wire import Message

_TAG = 16


class Spool:
    """A ring of bytes on disk that nobody else can read: its file has no name, its key is only in memory.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
        self._cipher = ChaCha20Poly1305(ChaCha20Poly1305.generate_key())
        self._kept: deque[tuple[int, int, int]] = deque()
        self._number = 0

    def put(self, data: bytes) -> bool:
        """Append; False if there is no room."""
        length = len(data) + _TAG
        if (at := self._room(length)) is None:
            return False
        nonce = self._number.to_bytes(12, "big")
        os.pwrite(self._file.fileno(), self._cipher.encrypt(nonce, data, None), at)
        self._kept.append((at, length, self._number))
        self._number += 1
        return True

    def take(self) -> bytes:
        """Give what was put first and not taken yet."""
        at, length, number = self._kept.popleft()
        sealed = os.pread(self._file.fileno(), length, at)
        return self._cipher.decrypt(number.to_bytes(12, "big"), sealed, None)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def _room(self, length: int) -> int | None:
        """Where so many bytes fit in one piece without touching what is kept."""
        if not self._kept:
            return 0 if length <= self._size else None
        first, last = self._kept[0], self._kept[-1]
        end = last[0] + last[1]
        if last[0] < first[0]:  # it has gone round
            return end if end + length <= first[0] else None
        if end + length <= self._size:
            return end
        return 0 if length <= first[0] else None


class Waiting:
    """Messages in order, put by any thread and taken by one.

    Args:
        memory: Bytes that are kept in memory.
        spool: Bytes that are kept on disk beyond that.
    """

    def __init__(self, memory: int, spool: int) -> None:
        self._limit = memory
        self._used = 0
        self._spool = Spool(spool) if spool else None
        self._lock = threading.Lock()
        self._entries: deque[tuple[Message, float, bool]] = deque()
        self._spooled = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def since(self) -> float | None:
        """When the oldest was put; None if nothing waits."""
        try:
            return self._entries[0][1]
        except IndexError:
            return None

    @property
    def spooled(self) -> int:
        """How many of them are on disk."""
        return self._spooled

    def put(self, message: Message, now: float) -> bool:
        """Append a message; False if there is no room for what it holds. What holds nothing always fits."""
        with self._lock:
            size = len(message.body)
            if self._used + size <= self._limit:
                self._used += size
                self._entries.append((message, now, False))
                return True
            if self._spool is None or not self._spool.put(message.body):
                return False
            self._spooled += 1
            self._entries.append((replace(message, body=b""), now, True))
            return True

    def take(self) -> tuple[Message, float] | None:
        """Give the oldest message and when it was put."""
        with self._lock:
            if not self._entries:
                return None
            message, at, spooled = self._entries.popleft()
            if spooled and self._spool is not None:
                self._spooled -= 1
                return replace(message, body=self._spool.take()), at
            self._used -= len(message.body)
            return message, at

    def put_back(self, entries: Sequence[tuple[Message, float]]) -> None:
        """Let these go first; they were taken before, and always fit."""
        with self._lock:
            self._used += sum(len(message.body) for message, _ in entries)
            self._entries.extendleft((*entry, False) for entry in reversed(entries))

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            if self._spool is not None:
                self._spool.close()
