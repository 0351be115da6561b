"""A certificate authority for tests: signs certificates for hosts and for clients, and writes them as PEM files."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFE = datetime.timedelta(days=1)


class Files(NamedTuple):
    """Paths of PEM files: a certificate with its chain behind it, and its key."""

    certificate: str
    key: str


class Authority:
    """A certificate authority; with ``issuer`` an intermediate one.

    Args:
        name: Its common name, and the names of its files.
        directory: Where it and what it signs are written.
        issuer: Who signs it; None is itself.

    Attributes:
        file: Its own certificate, in PEM.
    """

    def __init__(self, directory: Path, name: str = "authority", issuer: Authority | None = None) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._chain: list[x509.Certificate] = []
        by = issuer or self
        builder = _builder(self._name, by._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(by._key, hashes.SHA256())
        if issuer is not None:
            self._chain = [self.certificate, *issuer._chain]
        self.file = str(directory / f"{name}.pem")
        Path(self.file).write_bytes(_pem(self.certificate))

    def sign(
        self,
        name: str,
        hosts: Sequence[str] = ("127.0.0.1",),
        *,
        subject: x509.Name | None = None,
        password: str | None = None,
        file: str | None = None,
    ) -> Files:
        """Sign a certificate with a new key, and write both.

        Args:
            name: Its common name.
            hosts: Names and addresses that it is for.
            subject: The whole subject, instead of the common name alone.
            password: Puts the key under one.
            file: The stem of its files; by default the name. What is there already is replaced.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = subject if subject is not None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = _builder(subject, self._name, key.public_key()).add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        files = Files(str(self._directory / f"{file or name}.crt"), str(self._directory / f"{file or name}.key"))
        Path(files.certificate).write_bytes(b"".join(map(_pem, [certificate, *self._chain])))
        encryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        Path(files.key).write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return files

    def client_context(self, own: Files | None = None) -> ssl.SSLContext:
        """The context of a client that trusts this authority, and shows a certificate of its own if it has one."""
        context = ssl.create_default_context(cafile=self.file)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # on by default from 3.13 on; wants more fields than we write
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context


def pem_of(certificate_file: str) -> list[str]:
    """The certificates in a file, each in PEM."""
    certificates = x509.load_pem_x509_certificates(Path(certificate_file).read_bytes())
    return [_pem(each).decode() for each in certificates]


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
