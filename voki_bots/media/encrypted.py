"""Files that only who has a private key can read, and that a kill cuts short without harm.

A file of age (age-encryption.org/v1) can only be read to where its last chunk of 64 KiB ended, so one that
grows by a page a second would lose minutes in a crash. Here each `write` is a chunk of its own: a random key
of the file, wrapped for age's recipients, encrypts it with ChaCha20-Poly1305 (RFC 8439), numbered in its
nonce, so that none can be left out, repeated or moved; the last is marked. What ticks a chunk holds is in
clear, and authenticated: whoever repairs a call must know how long it is, and need not be able to hear it.

Layout, little-endian: `MAGIC`; u32 length and the wrapped key; then chunks: u32 length of what is encrypted,
u8 1 in the last one, i64 first and i64 last tick (both -1: none), and the encrypted bytes with their tag.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.media.newfile import LinesFile, NewFile

MAGIC = b"voki-bots encrypted 1\n"
ENDING = ".enc"
"""What the names of encrypted files end in."""

CHUNK = 1 << 20
"""Bytes that are encrypted at once, at most."""

_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<IBqq")
_NONE = (-1, -1)
_TAG = 16
_WRAPPED = 1 << 16


class Keys:
    """Private keys that files can be read with. Nothing of them is ever shown.

    Args:
        identities: Keys of age.
    """

    def __init__(self, identities: Sequence[Any]) -> None:
        self._identities = list(identities)

    @classmethod
    def from_file(cls, path: Path) -> Keys:
        """Read a file as ``age-keygen`` makes it: one key a line, comments after ``#``.

        Raises:
            ConfigurationError: If it cannot be read or holds no key.
        """
        x25519 = _age().x25519
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigurationError(f"--identity: {path} cannot be read: {why}", path="identity") from None
        said = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        try:
            identities = [x25519.Identity.from_str(line) for line in said]
        except Exception:  # noqa: BLE001 - whatever is said of it could quote the key
            identities = []
        if not identities:
            raise ConfigurationError(
                f"--identity: {path} holds no key of age; expected lines AGE-SECRET-KEY-1…", path="identity"
            ) from None
        return cls(identities)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Give the key of a file; ValueError if it is not meant for any of these."""
        age = _age()
        try:
            key: bytes = age.decrypt(wrapped, self._identities)
        except age.DecryptError:
            raise ValueError("none of the keys that were given can read it") from None
        return key


def check_recipients(recipients: Sequence[str]) -> list[str]:
    """Say what is wrong with public keys of age, one sentence each."""
    if not recipients:
        return []
    try:
        age = _age()
    except ConfigurationError as error:
        return [str(error)]
    found = []
    for number, one in enumerate(recipients):
        try:
            age.x25519.Recipient.from_str(one)
        except age.RecipientError:
            found.append(f"recipients.{number}: expected a public key of age, age1…, got {one[:12]!r}…")
    return found


def new_file(path: Path, recipients: Sequence[str] = (), *, lines: bool = False) -> NewFile:
    """Begin a file.

    Args:
        path: Where.
        recipients: Public keys of age for whom it is encrypted, if any.
        lines: It is one of lines, so one that is there and readable is gone on with.

    Raises:
        FileWriteError: If the disk does not take it, or it is there already.
    """
    if recipients:
        return EncryptedFile(path, recipients)
    return LinesFile(path) if lines else NewFile(path)


class EncryptedFile(NewFile):
    """A new file whose every `write` is a chunk that can be read by itself."""

    def __init__(self, path: Path, recipients: Sequence[str]) -> None:
        age = _age()
        super().__init__(path)
        key = os.urandom(32)
        self._cipher = _cipher(key)
        self._number = 0
        wrapped = age.encrypt(key, [age.x25519.Recipient.from_str(one) for one in recipients])
        super().write(MAGIC + _LENGTH.pack(len(wrapped)) + wrapped)

    def write(self, data: bytes, span: tuple[int, int] | None = None) -> None:
        """Append a chunk."""
        for at in range(0, len(data), CHUNK):
            self._chunk(data[at : at + CHUNK], span or _NONE)
            span = None

    def patch(self, offset: int, data: bytes) -> None:
        """Refuse: nothing that was written can be replaced."""
        raise FileWriteError(f"{self.path} is encrypted and only grows", path=str(self.path))

    def close(self) -> None:
        """Mark the end, make the file durable and close it."""
        if not self.closed:
            try:
                self._chunk(b"", _NONE, last=True)
            finally:
                super().close()

    def _chunk(self, data: bytes, span: tuple[int, int], *, last: bool = False) -> None:
        head = _HEAD.pack(len(data) + _TAG, last, *span)
        sealed = self._cipher.encrypt(_nonce(self._number, last=last), data, head)
        self._number += 1
        super().write(head + sealed)


def open_file(path: Path, keys: Keys | None = None) -> BinaryIO:
    """Open a file to read what is in it, decrypted in memory where it is encrypted.

    Raises:
        ValueError: If it cannot be decrypted with these keys, or was changed.
    """
    if path.suffix != ENDING:
        return path.open("rb")
    return io.BytesIO(b"".join(decrypted(path, keys)))


def decrypted(path: Path, keys: Keys | None) -> Iterator[bytes]:
    """Read a file chunk by chunk, also one that a kill left without an end.

    Raises:
        ValueError: If it cannot be decrypted with these keys, or was changed.
    """
    if keys is None:
        raise ValueError(f"{path} is encrypted: it needs a key")
    with path.open("rb") as file:
        try:
            cipher = _cipher(keys.unwrap(_wrapped(file)))
        except ValueError as error:
            raise ValueError(f"{path} cannot be decrypted: {error}") from None
        for number, (head, sealed) in enumerate(_chunks(file)):
            last = bool(_HEAD.unpack(head)[1])
            try:
                yield cipher.decrypt(_nonce(number, last=last), sealed, head)
            except _invalid():
                raise ValueError(f"{path} was changed: chunk {number} is not what was written") from None


def decrypt_file(path: Path, target: Path, keys: Keys) -> None:
    """Write what an encrypted file holds into a new file, 0600 in folders that are 0700.

    Raises:
        ValueError: If it cannot be decrypted with these keys, or was changed.
        FileWriteError: If the target exists, or the disk does not take it.
    """
    chunks = decrypted(path, keys)
    first = next(chunks, b"")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileWriteError(f"{target.parent} cannot be made: {error.strerror}", path=str(target)) from error
    file = NewFile(target)
    try:
        for chunk in (first, *chunks):
            file.write(chunk)
    finally:
        file.close()


def whole(path: Path) -> bool:
    """Whether an encrypted file has its end; only `decrypted` proves it."""
    last = False
    with path.open("rb") as file:
        _wrapped(file)
        for head, _ in _chunks(file):
            last = bool(_HEAD.unpack(head)[1])
    return last


def spans(path: Path) -> Iterator[tuple[int, int]]:
    """Say which ticks the chunks of an encrypted file hold; no key is needed.

    Raises:
        ValueError: If it is no such file. OSError if it cannot be read.
    """
    with path.open("rb") as file:
        _wrapped(file)
        for head, _ in _chunks(file):
            _, _, begin, end = _HEAD.unpack(head)
            if (begin, end) != _NONE:
                yield begin, end


def _wrapped(file: BinaryIO) -> bytes:
    start = file.read(len(MAGIC) + _LENGTH.size)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + _LENGTH.size:
        raise ValueError("it is no encrypted file of ours")
    (length,) = _LENGTH.unpack(start[len(MAGIC) :])
    if length > _WRAPPED or len(wrapped := file.read(length)) < length:
        raise ValueError("its head is cut short")
    return wrapped


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length = _HEAD.unpack(head)[0]
        if not _TAG <= length <= CHUNK + _TAG or len(sealed := file.read(length)) < length:
            return
        yield head, sealed


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)


def _invalid() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


def _age() -> Any:
    """Import pyrage, which comes with the extra ``encryption``."""
    try:
        import pyrage
    except ImportError:
        raise ConfigurationError(
            "encryption needs pyrage: pip install 'voki-bots[encryption]'", path="recipients"
        ) from None
    return pyrage
