"""Finishing a call: from its tracks, what people want to listen to.

Stereo by role, a mono mix, a file for each participant over the whole call, and a picture. All tracks are
decoded once, in blocks of a second, so that an hour needs no more memory than a minute. Everything is made
beside the call's folder and moved into it at the end: until then the folder stays as it was sealed, and a
bot may come back to it at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from voki_bots.archive.composite import COMPOSITE, THUMBNAIL
from voki_bots.archive.journal import Journal, Line, read_journal
from voki_bots.archive.layout import JOURNAL, make_directory, writing
from voki_bots.archive.masking import Spans, mask_tracks
from voki_bots.archive.options import FORMATS, FinishOptions
from voki_bots.archive.recover import track_path
from voki_bots.archive.seal import seal, seal_with
from voki_bots.archive.sidecar import fold
from voki_bots.archive.transcript import CAPTIONS, read_transcript
from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.media.encrypted import ENDING, Keys, decrypted

STEREO, MIX, PARTICIPANTS, PICTURE = "stereo", "mix", "participants", "waveform.svg"
"""The names of finished files, the first two without their ending."""

Progress = Callable[[float], None]
"""Is told which share is done, from 0.0 to 1.0."""

_AGAIN = 0.2


def finish(
    directory: Path,
    options: FinishOptions | None = None,
    *,
    progress: Progress = lambda _: None,
    patience: float = 0.0,
    keys: Keys | None = None,
    plain: bool = False,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dict[str, Any]:
    """Make the finished files of a call that is over, and seal its folder with them in it.

    What a crash left is repaired first. Files of an earlier finish are replaced. It takes a while, and a
    core: run it in another process.

    Args:
        directory: The folder of the call.
        options: What to make; None makes what was planned when the call was recorded.
        progress: Told about once for each second of the call.
        patience: Seconds to wait for a session that is about to end.
        keys: What decrypts the call, if it is encrypted. Without them such a call is sealed, and no more.
        plain: Leave what is made of an encrypted call readable for everybody.
        wall: The time in UTC.

    Returns:
        The sidecar. Files that do not hold what the journal says are in its ``finish.problems``.

    Raises:
        FileWriteError: If somebody still writes to the folder, or the disk does not let us.
        ConfigurationError: If the call is encrypted, and the keys that can read it are not given.
    """
    with aside_of(directory) as aside:
        sealed(directory, patience)
        lines = read_journal(directory / JOURNAL)
        sidecar = fold(lines)
        chosen = options or _planned(sidecar)
        recipients = recipients_of(sidecar)
        if recipients and keys is None and options is None:
            return sidecar
        check_keys(directory, sidecar, keys)
        if plain:
            recipients = ()
        elif recipients and chosen.format == "wav":
            raise ConfigurationError(
                "format: a WAV file cannot be encrypted; take opus or flac", path="format"
            )
        from voki_bots.archive.render import render

        masks = _redacted(directory, keys)
        if masks and not (chosen.keep_original and recipients_of(sidecar)):
            lines = _redact(directory, sidecar, masks, aside, keys)
        made = render(
            directory, sidecar, lines, chosen, aside, progress, keys=keys, recipients=recipients, masks=masks
        )
        return _take_over(directory, aside, lines[-1], chosen, made, wall)


def unfinished(sidecar: dict[str, Any]) -> bool:
    """Whether a call was left before it was sealed, or before what was planned was made of it."""
    if not sidecar.get("sealed"):
        return True
    if recipients_of(sidecar):
        return False  # what is left to do needs a key, which is not here
    finish = sidecar.get("finish") or {}
    return finish.get("planned") is not None and finish.get("at") is None


def recipients_of(sidecar: Mapping[str, Any]) -> tuple[str, ...]:
    """For whom a call is encrypted; nobody if it is not."""
    return tuple((sidecar.get("encryption") or {}).get("recipients", ()))


def check_keys(directory: Path, sidecar: Mapping[str, Any], keys: Keys | None) -> None:
    """Make sure that a call can be read.

    Raises:
        ConfigurationError: If it is encrypted, and not for these keys.
    """
    if not recipients_of(sidecar):
        return
    if keys is None:
        raise ConfigurationError(
            f"{directory} is encrypted; it needs a key: --identity FILE", path="identity"
        )
    for track in sidecar["tracks"]:
        if (path := track_path(directory, track)) is not None:
            try:
                next(decrypted(path, keys), None)
            except ValueError as error:
                raise ConfigurationError(str(error), path="identity") from None


def _planned(sidecar: dict[str, Any]) -> FinishOptions:
    planned = sidecar["finish"]["planned"]
    if planned is None and not any(track["file"] for track in sidecar["tracks"]):
        return FinishOptions(stereo=None, mix=None, participants=False, picture=False, composite=False)
    return FinishOptions.of(planned)


@contextlib.contextmanager
def aside_of(directory: Path, patience: float = 0.0) -> Iterator[Path]:
    """An empty folder beside the call's, for us alone; whatever is in it afterwards is removed.

    Args:
        directory: The folder of the call.
        patience: Seconds to wait for somebody else who has it.

    Raises:
        FileWriteError: If somebody has it, or the disk does not let us.
    """
    directory = directory.absolute()
    aside = directory.with_name(f".{directory.name}.finishing")
    descriptor = _locked(aside, directory, patience)
    try:
        try:
            _empty(aside)
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked(aside: Path, directory: Path, patience: float) -> int:
    while True:
        make_directory(aside)
        with writing(aside):
            descriptor = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(descriptor, directory, patience)
            with contextlib.suppress(FileNotFoundError):
                if aside.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever had it before has removed it: this is the lock of nothing


def _lock(descriptor: int, directory: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() >= deadline:
                why = f"{directory} is being finished already"
                raise FileWriteError(why, path=str(directory)) from error
            time.sleep(_AGAIN)
        else:
            return


def _empty(folder: Path) -> None:
    with writing(folder):
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()


def sealed(directory: Path, patience: float) -> None:
    """Seal a folder as soon as nobody writes to it any more; FileWriteError if that takes too long."""
    deadline = time.monotonic() + patience
    while True:
        try:
            seal(directory)
        except FileWriteError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() >= deadline:
                raise
            time.sleep(_AGAIN)
        else:
            return


def _redacted(directory: Path, keys: Keys | None) -> Spans:
    """What must not be heard, as far as the transcript can be read."""
    try:
        found = read_transcript(directory, keys)
    except ValueError:  # it is for others; so is what it says of redactions
        return {}
    except OSError as error:
        raise FileWriteError(
            f"{directory}: the transcript cannot be read: {error.strerror}", path=str(directory)
        ) from error
    return {} if found is None else found.redacted


def _redact(
    directory: Path, sidecar: Mapping[str, Any], masks: Spans, aside: Path, keys: Keys | None
) -> list[Line]:
    """Take out of the tracks what must not be kept; give the journal, which says so, and is sealed again.

    A crash before the journal says so leaves it to be done again, which changes nothing more.
    """
    lines = read_journal(directory / JOURNAL)
    done = {str(line.get("track")): line.get("spans") for line in lines if line["type"] == "track_redacted"}
    left = {track: spans for track, spans in masks.items() if done.get(track) != [list(s) for s in spans]}
    if not left:
        return lines
    replaced = list(
        mask_tracks(directory, sidecar["tracks"], left, aside, keys=keys, recipients=recipients_of(sidecar))
    )
    at = float(sidecar["duration"])
    journal = Journal(directory / JOURNAL, clock=lambda: at, wall=lambda: datetime.now(UTC))
    try:
        for track, spans in replaced:
            journal.append_at(at, "track_redacted", track=str(track["id"]), spans=[list(s) for s in spans])
        seal_with(journal, directory)
    finally:
        journal.close()
    return read_journal(directory / JOURNAL)


def _take_over(
    directory: Path,
    aside: Path,
    last: Line,
    options: FinishOptions,
    made: dict[str, Any],
    wall: Callable[[], datetime],
) -> dict[str, Any]:
    """Move what was made into the call's folder, unless the call went on meanwhile."""
    at = fold(read_journal(directory / JOURNAL))["duration"]
    journal = Journal(directory / JOURNAL, clock=lambda: at, wall=wall)
    try:
        if journal.head != last.get("hash"):
            raise FileWriteError(f"{directory} went on while it was being finished", path=str(directory))
        # From here to the seal a crash leaves an unsealed folder, which is finished anew.
        journal.append_at(at, "finish_begun")
        with writing(directory):
            for old in _outputs(directory):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            for new in sorted(aside.iterdir()):
                new.rename(directory / new.name)
        software = {name: version(package) for name, package in _SOFTWARE.items()}
        journal.append_at(at, "finished", options=options.as_json(), software=software, **made)
        return seal_with(journal, directory)
    finally:
        journal.close()


_SOFTWARE = {"voki_bots": "voki-bots", "av": "av", "numpy": "numpy"}


def _outputs(directory: Path) -> list[Path]:
    """What an earlier finish left: our names and nothing else."""
    made = (f"{stem}.{each}" for stem in (STEREO, MIX) for each in FORMATS)
    names = [*made, PICTURE, COMPOSITE, THUMBNAIL, *CAPTIONS]
    found = [directory / name for name in (*names, *(name + ENDING for name in names), PARTICIPANTS)]
    return [path for path in found if path.exists() and not path.is_symlink()]
