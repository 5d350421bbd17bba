"""The plugin itself: one subscription to the packets of everybody, for as long as the call lasts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from voki_bots import Attendance, Plugin, PluginSettings
from voki_bots_recorder.files import TrackFiles

CLOSING = 20.0
"""Seconds the disk may take to close the files of a call."""


class RecorderSettings(PluginSettings):
    """Settings of the recorder.

    Attributes:
        directory: Where calls are kept; without it, where the service keeps them.
    """

    directory: Path | None = None


class Recorder(Plugin[RecorderSettings]):
    """Record every participant on a track of their own, as it came."""

    def archive(self) -> Path | None:
        """Calls are kept where the settings say."""
        return self.settings.directory

    def check(self) -> Sequence[str]:
        """Say why the directory cannot be written, if so. Nothing is made."""
        if self.settings.directory is None:
            return ()
        wanted = self.settings.directory.absolute()
        there = wanted
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            return (f"directory: {wanted} cannot be made, because {there} is not a directory",)
        if not os.access(there, os.W_OK | os.X_OK):
            return (f"directory: {wanted} cannot be written: no permission in {there}",)
        return ()

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Write until the call ends; then close the files and name them by who was on them."""
        files = TrackFiles(call)
        listening = call.packets(files, of=("all", "bot"))
        try:
            yield
        finally:
            listening.close()
            try:
                async with asyncio.timeout(CLOSING):
                    await files.closed.wait()
            except TimeoutError:
                files.abandon()
                call.log.error("files_left_open", directory=str(call.directory), waited=CLOSING)
            else:
                files.rename()
