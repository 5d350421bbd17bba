"""How long calls are kept, who may not be forgotten yet, and what was erased by whom."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from voki_bots.archive.facts import until
from voki_bots.archive.finish import unfinished
from voki_bots.archive.journal import Journal, check_chain, read_journal
from voki_bots.archive.layout import JOURNAL, call_directories, make_directory, split_template, writing
from voki_bots.archive.seal import ListedCall, list_calls, read_call, seal, seal_with
from voki_bots.archive.sidecar import fold
from voki_bots.archive.upload import StorageTarget, ledger_of, upload, uploaded
from voki_bots.errors import ConfigurationError, FileWriteError, StorageError

AUDIT = "audit.jsonl"
"""The name of an archive's audit journal, in its root: what was erased, when, by whom and why."""

_UNITS: Final = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([hdwy])")
_ERASED = ".erased"
_PATIENCE, _AGAIN = 5.0, 0.05


def seconds_of(period: str) -> float:
    """Read a period such as ``90d``: hours, days, weeks or years of 365 days.

    Raises:
        ValueError: If it is none.
    """
    if (found := _PERIOD.fullmatch(period)) is None:
        raise ValueError(f'must look like "90d", "12h", "8w" or "7y", got {period!r}')
    return int(found[1]) * _UNITS[found[2]]


class Archive:
    """The calls below one directory. Its methods touch the disk: call them off the event loop.

    Args:
        root: The directory; a template at its end is passed over.
        wall: The time in UTC.
    """

    def __init__(self, root: Path, *, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.root, _ = split_template(root)
        self._wall = wall

    @staticmethod
    def seconds(period: str) -> float:
        """Read a period such as ``90d``; see `seconds_of`."""
        return seconds_of(period)

    def unfinished(self) -> list[Path]:
        """Find calls that nobody attends any more and that were not finished: a crash left them."""
        return [
            directory
            for directory in call_directories(self.root)
            if (found := read_call(directory)) is not None
            and unfinished(found.sidecar)
            and not is_written(directory)
        ]

    def to_upload(self, targets: Sequence[StorageTarget]) -> list[Path]:
        """Find sealed calls that are not in every target yet; it reads every file of those that may be."""
        return [
            call.directory
            for call in list_calls(self.root)
            if call.sealed and not is_written(call.directory) and not uploaded(call.directory, targets)
        ]

    def upload(self, directory: Path, targets: Sequence[StorageTarget]) -> int:
        """Copy a sealed call into every target; see `voki_bots.archive.upload.upload`. It blocks.

        Returns:
            How many files were sent.

        Raises:
            StorageError: At the first target that does not take it; what was sent before counts.
            FileWriteError: If it is not sealed, or the disk does not let us.
        """
        return sum(upload(directory, target) for target in targets)

    def forget(self, directory: Path, targets: Sequence[StorageTarget]) -> None:
        """Erase the local copy of a call that is in every target. Raises as `erase` does.

        Raises:
            StorageError: If it is not.
        """
        call = read_call(directory)
        if call is None or not uploaded(directory, targets):
            raise StorageError(f"{directory} is not in every store, and so stays here")
        self.erase(call, by="upload", reason=f"it is in {', '.join(each.url for each in targets)}")

    def expired(self, older_than: float | None = None) -> list[ListedCall]:
        """Find calls whose time is over and which are not on hold, oldest first.

        Args:
            older_than: Seconds after which every call's time is over; None takes what each call was
                recorded with, and those without are kept.
        """
        now = self._wall()
        found = []
        for call in list_calls(self.root):
            sidecar = call.sidecar
            since = sidecar.get("ended") or sidecar.get("started")
            keep = (sidecar.get("retention") or {}).get("keep") if older_than is None else older_than
            end = until(since, keep)
            over = end is not None and datetime.fromisoformat(end) <= now
            if over and not held(sidecar) and not is_written(call.directory):
                found.append(call)
        return found

    def of(self, tenant: str, call_id: str) -> list[ListedCall]:
        """Find everything of one call: each bot that attended it has a folder."""
        return [each for each in list_calls(self.root) if (each.tenant, each.call) == (tenant, call_id)]

    def erase(self, call: ListedCall, *, by: str, reason: str) -> None:
        """Erase everything of one folder, with lines in the audit journal before and after.

        Raises:
            FileWriteError: If the call is running, or the disk does not let us; nothing was erased then.
            ConfigurationError: If the call is on hold.
        """
        directory = call.directory
        with _claimed(directory):
            sidecar = fold(read_journal(directory / JOURNAL)) if (directory / JOURNAL).exists() else {}
            if why := held(sidecar or call.sidecar):
                raise ConfigurationError(f"{directory} is on hold: {why}", path=str(directory))
            facts = {"tenant": call.tenant, "call": call.call, "bot": call.bot, "by": by, "reason": reason}
            head = (sidecar.get("journal") or {}).get("head")
            self.audit("erasure_begun", **facts, folder=self._inside(directory), journal_head=head)
            # Under a name that nobody looks for, so that a crash cannot leave half a call.
            doomed = directory.with_name(f".{directory.name}{_ERASED}")
            with writing(directory):
                directory.rename(doomed)
                shutil.rmtree(doomed)
                finishing = directory.with_name(f".{directory.name}.finishing")
                shutil.rmtree(finishing, ignore_errors=True)
                ledger_of(directory).unlink(missing_ok=True)
        self._tidy(directory.parent)
        self.audit("call_erased", **facts, folder=self._inside(directory))

    def sweep(self) -> None:
        """Remove what an erasure that was cut off left behind."""
        for left in [path for path in self.root.glob(f"**/.*{_ERASED}") if path.is_dir()]:
            with writing(left):
                shutil.rmtree(left)

    def hold(self, directory: Path, *, by: str, reason: str) -> None:
        """Keep a call from being erased, whatever its age; a line in its journal says so.

        Raises:
            FileWriteError: If the call is running, or the disk does not let us.
        """
        self._journal(directory, "hold_placed", by=by, reason=reason)

    def release(self, directory: Path, *, by: str) -> None:
        """End every hold of a call. Raises as `hold` does."""
        self._journal(directory, "hold_released", by=by)

    def audit(self, event: str, **facts: Any) -> None:
        """Append to the archive's audit journal; another process that does so now is waited for.

        Raises:
            FileWriteError: If the disk does not let us.
        """
        make_directory(self.root)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                journal = Journal(self.root / AUDIT, clock=lambda: 0.0, wall=self._wall)
            except FileWriteError as error:
                if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() >= deadline:
                    raise
                time.sleep(_AGAIN)
                continue
            try:
                journal.append(event, **facts)
                journal.sync()
                return
            finally:
                journal.close()

    def audit_problems(self) -> list[str]:
        """Say where the audit journal's chain is broken; empty is good, and so is none."""
        try:
            return [f"{AUDIT}: {each}" for each in check_chain(read_journal(self.root / AUDIT))]
        except FileNotFoundError:
            return []
        except OSError as error:
            return [f"{self.root / AUDIT} cannot be read: {error.strerror}"]

    def _journal(self, directory: Path, event: str, **facts: Any) -> None:
        if not fold(read_journal(directory / JOURNAL))["sealed"]:
            seal(directory)
        at = fold(read_journal(directory / JOURNAL))["duration"]
        journal = Journal(directory / JOURNAL, clock=lambda: at, wall=self._wall)
        try:
            journal.append_at(at, event, **facts)
            seal_with(journal, directory)
        finally:
            journal.close()

    def _inside(self, directory: Path) -> str:
        root, inner = self.root.resolve(), directory.parent.resolve() / directory.name
        return inner.relative_to(root).as_posix() if inner.is_relative_to(root) else directory.name

    def _tidy(self, folder: Path) -> None:
        """Remove folders that have become empty, up to the root."""
        root = self.root.resolve()
        folder = folder.resolve()
        with suppress(OSError):
            while folder != root and folder.is_relative_to(root):
                folder.rmdir()
                folder = folder.parent


def held(sidecar: dict[str, Any]) -> str | None:
    """Say by whom and why a call is on hold, or None."""
    for hold in sidecar.get("holds") or ():
        if hold.get("released") is None:
            return f"by {hold.get('by')} since {hold.get('at')}: {hold.get('reason')}"
    return None


def is_written(directory: Path) -> bool:
    """Whether somebody writes a call's journal at this moment."""
    try:
        with _claimed(directory):
            return False
    except FileWriteError as error:
        return isinstance(error.__cause__, BlockingIOError)


@contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    """Hold a call's journal, without touching it.

    Raises:
        FileWriteError: If somebody else does.
    """
    try:
        descriptor = os.open(directory / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise FileWriteError(
            f"{directory / JOURNAL} cannot be read: {error.strerror}", path=str(directory)
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileWriteError(f"{directory} is being written", path=str(directory)) from error
        yield
    finally:
        os.close(descriptor)
