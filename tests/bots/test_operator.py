"""An operator's key: made once, private, and told apart from what is none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from voki_bots.bots.operator import keygen, private_key, public_key, trusted_key
from voki_bots.errors import ConfigurationError


def test_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file is made with mode 0600, whatever the umask."""
    keygen(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    """Profiles that it signed would be worth nothing."""
    keygen(tmp_path / "key")
    with pytest.raises(ConfigurationError, match="never written over"):
        keygen(tmp_path / "key")


def test_the_public_half_is_found_again(tmp_path: Path) -> None:
    """As text it is what was printed, and a file of it is as good."""
    text = keygen(tmp_path / "key")
    (tmp_path / "key.pub").write_text(f"{text}\n")
    assert public_key(tmp_path / "key") == text
    assert trusted_key(text).public_bytes_raw() == trusted_key(tmp_path / "key.pub").public_bytes_raw()


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    keygen(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        private_key(tmp_path / "key")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no key",
        "ed25519:",
        "ed25519:AAAA",
        "ed25519:" + "=" * 44,
        "ed25519:" + "A" * 43 + "= ed25519:" + "A" * 43 + "=",
    ],
)
def test_what_is_no_public_key_is_told(tmp_path: Path, text: str) -> None:
    """In a file or by itself."""
    (tmp_path / "operator").write_text(text)
    with pytest.raises(ConfigurationError, match="operator: expected a public key"):
        trusted_key(tmp_path / "operator")


def test_a_private_key_given_for_the_public_one_is_not_shown(tmp_path: Path) -> None:
    """The error holds nothing of the file."""
    keygen(tmp_path / "key")
    secret = (tmp_path / "key").read_text().splitlines()[1]
    with pytest.raises(ConfigurationError) as refused:
        trusted_key(tmp_path / "key")
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"no pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_private_key_is_told(tmp_path: Path, content: bytes) -> None:
    """With the command that makes one."""
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigurationError, match="keygen makes one"):
        private_key(tmp_path / "key")


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    """RSA is no Ed25519."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigurationError, match="holds no private Ed25519 key"):
        private_key(tmp_path / "key")
