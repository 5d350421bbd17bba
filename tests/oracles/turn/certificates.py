"""A certificate authority of our own, and a server's certificate by it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(directory: Path, address: str) -> tuple[Path, Path, Path]:
    """Write the authority's certificate, the server's for an IP address, and the server's key."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _builder("Authority", "Authority", authority).add_extension(x509.BasicConstraints(True, 0), True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    signer = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root_made = root.add_extension(usage, True).add_extension(signer, False).sign(authority, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = _builder("Relay", "Authority", server).add_extension(names, False).add_extension(issuer, False)
    leaf_made = leaf.sign(authority, hashes.SHA256())
    paths = directory / "authority.pem", directory / "relay.pem", directory / "relay.key"
    paths[0].write_bytes(root_made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf_made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    paths[2].write_bytes(server.private_bytes(serialization.Encoding.PEM, form, plain))
    return paths


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
