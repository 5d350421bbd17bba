"""Finished calls in a store of objects: S3, or what speaks like it.

A call is copied file by file, the sidecar last, so that a folder in the store with a ``call.json`` is whole.
Before the first file a claim is put that can only be put once: a second writer finds it, and stops. What was
copied is read back and hashed, and only then counts. What has been done is kept beside the call's folder, so
that a restart goes on where the last run ended.

It blocks: call it in a thread. (Not in a task: obstore's own coroutines abort the interpreter at its end if a
request failed just before, seen with 0.12.1.)
"""

from __future__ import annotations

import configparser
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from voki_bots.archive.journal import read_journal
from voki_bots.archive.layout import JOURNAL, SIDECAR, safe_name, write_aside
from voki_bots.archive.sidecar import fold
from voki_bots.errors import ConfigurationError, FileWriteError, StorageConflictError, StorageError

CLAIM = "claim.json"
"""The object that says whose copy this is."""

MULTIPART = 8 << 20
"""Bytes from which on a file is sent in parts."""

_PART = 1 << 20

_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
"""A store that stays away is left alone for longer than a library would wait in our thread."""


class StorageTarget(BaseModel):
    """Where calls are copied to: a table ``[[bots.recorder.upload]]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="``s3://bucket/prefix``")
    endpoint: str | None = Field(default=None, description="the server, if it is not Amazon's")
    region: str = Field(default="us-east-1", description="its region")
    credentials_file: Path | None = Field(
        default=None, description="a file as of the AWS tools; without it AWS_… in the environment counts"
    )
    profile: str = Field(default="default", description="which section of that file")

    @field_validator("url")
    @classmethod
    def _bucket(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "s3" or not parts.netloc or parts.query or "@" in parts.netloc:
            raise ValueError(f"must look like s3://bucket/prefix, got {value[:80]!r}")
        return value.rstrip("/")

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What all keys begin with; may be empty."""
        return urlsplit(self.url).path.strip("/")

    def problems(self) -> Iterator[str]:
        """Say what keeps it from being used, before anything connects."""
        try:
            import obstore  # noqa: F401 - only whether it is there
        except ImportError:
            yield f"{self.url}: uploading needs obstore: pip install 'voki-bots[upload]'"
        try:
            self.credentials()
        except ConfigurationError as error:
            yield f"{self.url}: {error}"

    def credentials(self) -> dict[str, str]:
        """Read the file of credentials; empty without one.

        Raises:
            ConfigurationError: If it cannot be read, or lacks what is needed.
        """
        if self.credentials_file is None:
            return {}
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(self.credentials_file.read_text(encoding="utf-8"))
            section = parser[self.profile]
            key, secret = section["aws_access_key_id"], section["aws_secret_access_key"]
        except OSError as error:
            raise _unusable(self.credentials_file, error.strerror or "it cannot be read") from None
        except KeyError as error:
            raise _unusable(self.credentials_file, f"it lacks {error.args[0]}") from None
        except (configparser.Error, UnicodeDecodeError):
            raise _unusable(self.credentials_file, "it is no file of credentials") from None
        found = {"access_key_id": key, "secret_access_key": secret}
        if token := section.get("aws_session_token"):
            found["session_token"] = token
        return found


def _unusable(file: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"credentials_file: {file} cannot be used: {why}", path="credentials_file")


class Ledger:
    """What of one call has been copied, kept beside its folder over restarts.

    Args:
        directory: The folder of the call.
    """

    def __init__(self, directory: Path) -> None:
        self.path = ledger_of(directory)
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            found = None
        known: dict[str, Any] = found if isinstance(found, dict) else {}
        self.writer = str(known.get("writer") or uuid.uuid4())
        self._done: dict[str, dict[str, str]] = dict(known.get("done") or {})

    def of(self, target: StorageTarget) -> dict[str, str]:
        """The SHA-256 of each file that was copied to a target, by its name."""
        return self._done.setdefault(target.url, {})

    def save(self) -> None:
        """Keep it on the disk.

        Raises:
            FileWriteError: If the disk does not let us.
        """
        said = {"writer": self.writer, "done": self._done}
        write_aside(self.path, json.dumps(said).encode(), durable=True)


def ledger_of(directory: Path) -> Path:
    """Name the file that says what of a call has been copied."""
    return directory.with_name(f".{directory.name}.uploaded.json")


def uploaded(directory: Path, targets: Sequence[StorageTarget]) -> bool:
    """Whether all of a call, as it is sealed now, is in every target."""
    ledger, wanted = Ledger(directory), _files(directory)
    return all(ledger.of(target) == wanted for target in targets)


def upload(
    directory: Path,
    target: StorageTarget,
    *,
    progress: Callable[[float], None] = lambda _: None,
    **options: Any,
) -> int:
    """Copy a sealed call into a store, as far as it is not there yet.

    Args:
        directory: The folder of the call; in the store it is ``<prefix>/<tenant>/<call>/<bot>``.
        target: Where to.
        progress: Told the share of bytes that is done.
        options: Of obstore's `S3Store`, for tests.

    Returns:
        How many files were sent.

    Raises:
        StorageError: If the store does not answer, refuses, gives back something else than was sent, or has
            the call of another writer; nothing of that was written over.
        FileWriteError: If the folder is not sealed, or the disk does not let us.
    """
    import obstore

    ledger, wanted = Ledger(directory), _files(directory)
    if not wanted:
        raise FileWriteError(f"{directory} is not sealed, and so cannot be copied", path=str(directory))
    done = ledger.of(target)
    if done == wanted:
        return 0
    base = "/".join(part for part in (target.prefix, *_place(directory)) if part)
    ledger.save()
    with _told(target, directory):
        store = _open(target, options)
        _claim(store, f"{base}/{CLAIM}", ledger.writer, target)
        sizes = {each: (directory / each).stat().st_size for each in wanted}
        total, sent, count = sum(sizes.values()) or 1, 0, 0
        for each, digest in wanted.items():
            if done.get(each) != digest:
                path, key = directory / each, f"{base}/{each}"
                obstore.put(store, key, path, mode="overwrite", use_multipart=sizes[each] > MULTIPART)
                if (there := _digest(store, key)) != digest:
                    raise StorageError(
                        f"{directory}: {target.url} gave back {each} as {there[:12]}…, not {digest[:12]}…"
                    )
                done[each] = digest
                ledger.save()
                count += 1
            sent += sizes[each]
            progress(sent / total)
    for gone in done.keys() - wanted.keys():
        del done[gone]
    ledger.save()
    return count


def _files(directory: Path) -> dict[str, str]:
    """What a sealed folder holds, the sidecar last: SHA-256 by name; nothing if it is not sealed."""
    try:
        sidecar = fold(read_journal(directory / JOURNAL))
    except OSError:
        return {}
    if not sidecar["sealed"]:
        return {}
    wanted = {str(each["path"]): str(each["sha256"]) for each in sidecar["files"]}
    for name in (JOURNAL, SIDECAR):
        wanted[name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    return wanted


def _place(directory: Path) -> tuple[str, ...]:
    """Name a call so that no two of one store share it, whatever the folders are called here."""
    sidecar = fold(read_journal(directory / JOURNAL))
    return tuple(safe_name(str(sidecar[each])) for each in ("tenant", "call", "bot"))


def _open(target: StorageTarget, options: dict[str, Any]) -> Any:
    from obstore.store import S3Store

    settings: dict[str, Any] = {"region": target.region, "retry_config": _RETRY, **target.credentials()}
    settings |= options
    if target.endpoint is not None:
        plain = target.endpoint.startswith("http://")
        settings |= {"endpoint": target.endpoint, "client_options": {"allow_http": plain}}
    return S3Store(target.bucket, **settings)


def _claim(store: Any, key: str, writer: str, target: StorageTarget) -> None:
    """Put the claim, or find that it is ours already."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    said = json.dumps({"writer": writer}).encode()
    try:
        obstore.put(store, key, said, mode="create")
    except AlreadyExistsError:
        if bytes(obstore.get(store, key).bytes()) != said:
            raise StorageConflictError(
                f"{target.url} has this call of another writer already ({key}); nothing was written over"
            ) from None


def _digest(store: Any, key: str) -> str:
    import obstore

    digest = hashlib.sha256()
    for chunk in obstore.get(store, key).stream(min_chunk_size=_PART):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _told(target: StorageTarget, directory: Path) -> Iterator[None]:
    """Turn what obstore raises into one sentence; its own goes on for pages."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        why = str(error).split("\n")[0].strip()
        raise StorageError(f"{directory} was not copied to {target.url}: {why}") from error
