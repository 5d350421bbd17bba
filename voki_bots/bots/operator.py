"""An operator's key: the private half in a file of his own, the public half in everybody's settings.

Ed25519 (RFC 8032). The private half is never logged, shown or taken from a command line.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PREFIX = "ed25519:"
"""What a public key begins with, as text; 32 bytes of base64 follow."""

MAX_FILE = 64 * 1024
"""Bytes of a file that is read here."""


def keygen(path: Path) -> str:
    """Make an operator's key: the private half goes into a new file of mode 0600.

    Returns:
        The public half, as settings take it.

    Raises:
        ConfigurationError: If there is such a file already, or it cannot be written.
    """
    kinds, serialization = _cryptography()
    key = kinds.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already, and a key is never written over", path="key"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", path="key") from None
    return as_text(key.public_key())


def as_text(key: Ed25519PublicKey) -> str:
    """Write a public key as settings take it."""
    return PREFIX + base64.b64encode(key.public_bytes_raw()).decode()


def public_key(key_file: Path) -> str:
    """The public half of an operator's private key, as settings take it.

    Raises:
        ConfigurationError: As `private_key`.
    """
    return as_text(private_key(key_file).public_key())


def private_key(key_file: Path) -> Ed25519PrivateKey:
    """Read an operator's private key.

    Raises:
        ConfigurationError: If it cannot be read, is no Ed25519 key, or others can read it too.
    """
    kinds, serialization = _cryptography()
    try:
        mode = key_file.stat().st_mode
        pem = key_file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{key_file} cannot be read: {error.strerror}", path="key") from None
    if mode & 0o077:
        raise ConfigurationError(f"{key_file} can be read by others; chmod 600 it", path="key")
    key: Ed25519PrivateKey | None = None
    try:
        found = serialization.load_pem_private_key(pem, password=None)
        key = found if isinstance(found, kinds.Ed25519PrivateKey) else None
    except (ValueError, TypeError):
        pass
    if key is None:
        raise ConfigurationError(
            f"{key_file} holds no private Ed25519 key; voki-bots profile keygen makes one", path="key"
        )
    return key


def trusted_key(key: str | Path) -> Ed25519PublicKey:
    """Read an operator's public key.

    Args:
        key: The key itself (``ed25519:…``), or a file that holds it and nothing else.

    Raises:
        ConfigurationError: If it is none. What was given is not shown: somebody may have taken the private
            half for the public one.
    """
    kinds, _ = _cryptography()
    text = key if isinstance(key, str) and key.startswith(PREFIX) else read_text(Path(key), "operator")
    public: Ed25519PublicKey | None = None
    words = text.split()
    if len(words) == 1 and words[0].startswith(PREFIX):
        try:
            raw = base64.b64decode(words[0].removeprefix(PREFIX), validate=True)
            public = kinds.Ed25519PublicKey.from_public_bytes(raw)
        except (ValueError, binascii.Error):
            public = None
    if public is None:
        raise ConfigurationError(
            f"operator: expected a public key, {PREFIX}… with 32 bytes of base64, or a file with just that",
            path="operator",
        )
    return public


def read_text(path: Path, what: str) -> str:
    """Read a small file of text.

    Raises:
        ConfigurationError: If it cannot be read, is too long, or is no text.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigurationError(f"{path} is too long to be a {what}", path=what)
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{path} cannot be read: {why}", path=what) from None


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ConfigurationError(
            "signatures need a library: pip install 'voki-bots[encryption]'", path="operator"
        ) from None
    return ed25519, serialization
