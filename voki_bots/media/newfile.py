"""Files that only grow."""

from __future__ import annotations

import os
from pathlib import Path

from voki_bots.errors import FileWriteError

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class NewFile:
    """A new file, 0600, unbuffered; every failure names its path.

    Raises:
        FileWriteError: From every method, if the disk does not take it.
    """

    _flags = os.O_WRONLY | os.O_EXCL
    _opened = "created"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        try:
            self._fd = os.open(path, self._flags | os.O_CREAT | os.O_CLOEXEC | _NOFOLLOW, 0o600)
        except OSError as error:
            raise self._error(self._opened, error) from error

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._fd is None

    def write(self, data: bytes, span: tuple[int, int] | None = None) -> None:
        """Append bytes; what `span` of ticks they hold matters only where they are encrypted."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor(), view) :]
        except OSError as error:
            raise self._error("written", error) from error

    def patch(self, offset: int, data: bytes) -> None:
        """Replace bytes that were written before."""
        try:
            os.pwrite(self._descriptor(), data, offset)
        except OSError as error:
            raise self._error("written", error) from error

    def close(self) -> None:
        """Make it durable and close it; closing twice is fine."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.fsync(fd)
        except OSError as error:
            raise self._error("made durable", error) from error
        finally:
            os.close(fd)

    def _descriptor(self) -> int:
        if self._fd is None:
            raise FileWriteError(f"{self.path} is closed already", path=str(self.path))
        return self._fd

    def _error(self, verb: str, error: OSError) -> FileWriteError:
        return FileWriteError(f"{self.path} cannot be {verb}: {error.strerror or error}", path=str(self.path))


class LinesFile(NewFile):
    """A file of lines, new or gone on with; a last line that a kill cut off is ended first."""

    _flags = os.O_RDWR | os.O_APPEND
    _opened = "opened"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        fd = self._descriptor()
        try:
            size = os.fstat(fd).st_size
            torn = size and os.pread(fd, 1, size - 1) != b"\n"
        except OSError as error:
            raise self._error("read", error) from error
        if torn:
            self.write(b"\n")
