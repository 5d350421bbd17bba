"""The files of one call, written in the recorder's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from voki_bots import Attendance, FileWriteError, FrameAssembler, Packet, Track, VideoPacket
from voki_bots_recorder.clocks import Clocks
from voki_bots_recorder.names import FOLDER, Names
from voki_bots_recorder.writers import PictureFile, SoundFile, TrackFile

PACE = 0.1
"""Seconds that packets may wait for each other; a file is in no hurry."""


class TrackFiles:
    """A sink that writes each track of one call into a file of its own.

    `write`, `flush` and `close` run in the recorder's thread. What they have to tell goes to the event loop,
    in order; `closed` is set there when the last file is closed.

    A file that cannot be written ends, and is told; the others go on. When none is left the error is
    raised, which detaches the recorder from this call.

    Args:
        call: The call.
        recipients: For whom the files are encrypted; nobody leaves them readable.
    """

    pace = PACE

    def __init__(self, call: Attendance, recipients: Sequence[str] = ()) -> None:
        self._recipients = recipients
        self.closed = asyncio.Event()
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._directory = call.directory
        self._names = Names(".enc" if recipients else "")
        self._clocks = Clocks()
        self._open: dict[Track, TrackFile] = {}
        self._frames: dict[Track, FrameAssembler] = {}
        self._finished: dict[Track, TrackFile] = {}
        self._failed: set[Track] = set()
        self._over = threading.Event()

    def write(self, packet: Packet) -> None:
        """Append a packet to its track's file; the first one opens it, or the first key frame."""
        track = packet.track
        if self._over.is_set() or track in self._failed:
            return
        file = self._open.get(track)
        try:
            if file is not None:
                file.write(packet)
            elif isinstance(packet, VideoPacket):
                self._begin_picture(packet)
            else:
                self._begin_sound(packet)
        except FileWriteError as error:
            self._give_up(track, error)
        else:
            if track.kind == "audio" and (point := self._clocks.take(packet)) is not None:
                self._journal("clock_measured", **point)
        self._close_if_abandoned()

    def flush(self) -> None:
        """Hand everything over to the system, so that a kill loses nothing written before."""
        self._each(lambda file: file.flush())
        self._close_if_abandoned()

    def close(self) -> None:
        """Close all files and make them durable."""
        try:
            for point in self._clocks.rest():
                self._journal("clock_measured", **point)
            self._each(lambda file: file.close())
        finally:
            self._finished |= self._open
            self._open.clear()
            self._over.set()
            self._tell(self.closed.set)

    def abandon(self) -> None:
        """Write nothing more, whatever still comes: the call's folder is about to be sealed.

        A thread that waits for the disk in this moment closes the files when it comes back.
        """
        self._over.set()

    def rename(self) -> None:
        """Give files the names of those who turned out to be on them. Only after `closed`, in the loop.

        Raises:
            FileWriteError: If the disk does not let us.
        """
        moves = self._names.settle(self._call.who)
        moves = {track: names for track, names in moves.items() if track in self._finished}
        targets = {new for _, new in moves.values()}
        there = {track: f"{old}.moved" if old in targets else old for track, (old, _) in moves.items()}
        for track, (old, _) in moves.items():
            if there[track] != old:
                self._move(old, there[track])
        for track, (old, new) in moves.items():
            self._move(there[track], new)
            codec = self._finished[track].codec
            self._call.journal("track_file", track=str(track), path=new, codec=codec, was=old)

    def _begin_sound(self, first: Packet) -> None:
        file = SoundFile(self._directory, self._name(first.track), first, self._recipients)
        file.write(first)
        self._begun(first.track, file)

    def _begin_picture(self, packet: VideoPacket) -> None:
        track = packet.track
        frames = self._frames.setdefault(track, FrameAssembler())
        if ready := frames.push(packet):
            name = self._name(track)
            self._begun(track, PictureFile(self._directory, name, frames, ready, self._recipients))

    def _name(self, track: Track) -> str:
        _make(self._directory / FOLDER)
        return self._names.take(track, self._call.who(track))

    def _begun(self, track: Track, file: TrackFile) -> None:
        self._open[track] = file
        self._journal("track_file", track=str(track), path=file.path, codec=file.codec, start=file.start)

    def _close_if_abandoned(self) -> None:
        if self._over.is_set() and self._open:
            self.close()

    def _each(self, act: Callable[[TrackFile], None]) -> None:
        for track, file in list(self._open.items()):
            try:
                act(file)
            except FileWriteError as error:
                self._give_up(track, error)

    def _give_up(self, track: Track, error: FileWriteError) -> None:
        self._failed.add(track)
        if (file := self._open.pop(track, None)) is not None:
            self._finished[track] = file
            with contextlib.suppress(FileWriteError):
                file.close()
        self._journal("track_failed", track=str(track), path=error.path, why=str(error))
        self._tell(lambda: self._call.log.error("track_failed", track=str(track), why=str(error)))
        if not self._open:
            self.close()
            raise error

    def _move(self, old: str, new: str) -> None:
        source = self._directory / old
        try:
            source.rename(self._directory / new)
        except OSError as error:
            raise FileWriteError(f"{source} cannot be renamed: {error.strerror}", path=str(source)) from error

    def _journal(self, event: str, **facts: Any) -> None:
        self._tell(lambda: self._call.journal(event, **facts))

    def _tell(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise FileWriteError(f"{folder} cannot be made: {error.strerror}", path=str(folder)) from error
