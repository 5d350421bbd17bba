"""RSA certificates for DTLS, as Elixir SFUs have them.

aiortc speaks ECDSA only, and this must be true of one connection alone, so it is put on that one's
certificate and on nothing else.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_CIPHERS = b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"


@cache
def _certificate() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.datetime.now(tz=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def use_rsa_certificate(pc: Any) -> None:
    """Give `pc` an RSA-2048 certificate. Call it before any transceiver exists."""
    (certificate,) = pc._RTCPeerConnection__certificates
    certificate._key, certificate._cert = _certificate()


def accept_rsa(pc: Any) -> None:
    """Let `pc` talk to a far end with an RSA certificate, as every browser does."""
    (certificate,) = pc._RTCPeerConnection__certificates
    original = certificate._create_ssl_context

    def with_rsa(srtp_profiles: Sequence[Any]) -> Any:
        made = original(srtp_profiles)
        made.set_cipher_list(_CIPHERS)
        return made

    certificate._create_ssl_context = with_rsa
