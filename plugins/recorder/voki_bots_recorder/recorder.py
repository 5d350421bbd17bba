"""The plugin itself: one subscription to the packets of everybody, for as long as the call lasts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import structlog

from voki_bots import Attendance, Plugin
from voki_bots_recorder.files import TrackFiles
from voki_bots_recorder.finishing import Finishing
from voki_bots_recorder.settings import RecorderSettings
from voki_bots_recorder.uploading import Uploads

CLOSING = 20.0
"""Seconds the disk may take to close the files of a call."""


class Recorder(Plugin[RecorderSettings]):
    """Record every participant on a track of their own, and make what people listen to of it."""

    _finishing: Finishing | None = None

    async def __aenter__(self) -> Self:
        """From now on calls are finished when they are over."""
        uploads = Uploads(self.settings.upload, forget=self.settings.delete_after_upload)
        self._finishing = Finishing(self.settings.finishers, uploads, self.settings.directory)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Wait a while for calls that are being finished."""
        if self._finishing is not None:
            await self._finishing.close()
            self._finishing = None

    def archive(self) -> Path | None:
        """Calls are kept where the settings say, in folders named as they say."""
        told = {"directory", "name"} & self.settings.model_fields_set
        return self.settings.place if told else None

    def video(self) -> bool:
        """Pictures are recorded if the settings say so."""
        return self.settings.video

    def check(self) -> Sequence[str]:
        """Say why the directory cannot be written, or nothing be copied, if so. Nothing is made."""
        found = [
            f"upload.{n}: {why}" for n, each in enumerate(self.settings.upload) for why in each.problems()
        ]
        return [*found, *self._unwritable()]

    def _unwritable(self) -> Sequence[str]:
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

    async def recover(self, archive: Path) -> None:
        """Finish what a crash left, and erase calls whose time is over."""
        if self._finishing is not None:
            log = structlog.get_logger(__name__).bind(plugin=self.name, archive=str(archive))
            await self._finishing.recover(archive, log)

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Write until the call ends; then close the files, name them by who was on them, and finish."""
        options = self.settings.finish
        recipients = self.settings.recipients
        call.journal(
            "finish_planned",
            options=options.as_json(),
            keep=self.settings.keep_seconds,
            recipients=list(recipients),
        )
        files = TrackFiles(call, recipients)
        kind = "all" if self.settings.video else "audio"
        listening = call.packets(files, of=("all", "bot", "supervisor"), kind=kind)
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
            finally:
                if self._finishing is not None and (options.anything or self.settings.upload):
                    self._finishing.soon(call, options)
