"""The certificate that `runserver` speaks TLS with: the user's files, or one made for the occasion; no server here."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.management.base import CommandError
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

from daphne_clone.errors import ListenError
from daphne_clone.transport.tls import server_context

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

# Where the process that restarts the others has put the certificate it made: one for all of them, so that a browser
# asks once and not after every edit.
_DIRECTORY_VARIABLE = "_DAPHNE_CLONE_RUNSERVER_CERTIFICATE"

_LIFE = timedelta(days=365)
_CLOCKS_DIFFER = timedelta(hours=1)
_LOCAL = ("localhost", "127.0.0.1", "::1")


class CertificateFiles(NamedTuple):
    """Paths of two PEM files, which may be one."""

    certificate: str
    private_key: str


def check_options(options: Mapping[str, Any]) -> None:
    """Find out whether the options of `runserver` for TLS go together.

    Raises:
        CommandError: They do not.
    """
    given = [
        f"--{name.replace('_', '-')}" for name in ("ssl_certfile", "ssl_keyfile", "ssl_adhoc") if options.get(name)
    ]
    if given and not options.get("use_asgi", True):
        raise CommandError(f"{given[0]} cannot be used with --noasgi: Django's own server does not speak TLS.")
    if len(given) > 1 and options.get("ssl_adhoc"):
        raise CommandError(f"{given[0]} cannot be used with --ssl-adhoc, which makes a certificate of its own.")


@contextmanager
def chosen_files(options: Mapping[str, Any], host: str) -> Iterator[CertificateFiles | None]:
    """Hold the certificate that the options ask for; None when they ask for none.

    Args:
        options: Of `runserver`.
        host: What it listens on.

    Raises:
        CommandError: The certificate cannot be used, or not be made.
    """
    if options.get("ssl_adhoc"):
        with adhoc_files(host) as files:
            yield files
    elif options.get("ssl_certfile") or options.get("ssl_keyfile"):
        yield given_files(options.get("ssl_certfile"), options.get("ssl_keyfile"))
    else:
        yield None


def given_files(certificate: str | None, private_key: str | None) -> CertificateFiles:
    """Return the files that the user named, once they have been found to fit.

    Args:
        certificate: Of ``--ssl-certfile``.
        private_key: Of ``--ssl-keyfile``; None is in the certificate's file.

    Raises:
        CommandError: One is missing, cannot be read or does not fit the other.
    """
    if not certificate:
        raise CommandError("--ssl-keyfile needs --ssl-certfile: a key is of no use without its certificate.")
    files = CertificateFiles(certificate, private_key or certificate)
    try:
        server_context(private_key=files.private_key, certificate=files.certificate)
    except ListenError as error:
        raise CommandError(f"TLS cannot be used: {error}") from error
    return files


@contextmanager
def adhoc_files(host: str) -> Iterator[CertificateFiles]:
    """Make a self-signed certificate and its key, in a directory that goes when the block ends.

    The block of the process that restarts the others holds theirs too: they find the files by the environment.

    Args:
        host: What the server listens on; the certificate is for it and for this machine's own names.

    Raises:
        CommandError: The package cryptography is not installed.
    """
    shared = os.environ.get(_DIRECTORY_VARIABLE)
    if shared and os.environ.get(DJANGO_AUTORELOAD_ENV) == "true":
        yield _files_in(Path(shared))
        return
    with TemporaryDirectory(prefix="runserver-tls-") as directory:  # which nobody else can read
        files = _files_in(Path(directory))
        certificate, private_key = make_certificate(host)
        Path(files.certificate).write_bytes(certificate)
        Path(files.private_key).write_bytes(private_key)
        os.environ[_DIRECTORY_VARIABLE] = directory
        try:
            yield files
        finally:
            del os.environ[_DIRECTORY_VARIABLE]


def make_certificate(host: str) -> tuple[bytes, bytes]:
    """Return a self-signed certificate and its key, in PEM.

    Args:
        host: A name or an address that it is for, besides this machine's own.

    Raises:
        CommandError: The package cryptography is not installed.
    """
    try:
        from cryptography import x509  # noqa: PLC0415  # an optional extra
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415
    except ImportError as error:
        raise CommandError(
            "--ssl-adhoc needs the package cryptography: pip install 'daphne-clone[ssl-adhoc]'"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daphne-clone runserver, self-signed")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        # RFC 5280 section 4.2: what a strict client asks for before it takes a certificate that it was told to trust.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private_key


def _names(host: str) -> list[GeneralName]:
    from cryptography import x509  # noqa: PLC0415  # an optional extra, found to be there

    names: list[GeneralName] = []
    for each in dict.fromkeys((*_LOCAL, host)):
        try:
            address = ipaddress.ip_address(each)
        except ValueError:
            names.append(x509.DNSName(each))
        else:
            if not address.is_unspecified:
                names.append(x509.IPAddress(address))
    return names


def _files_in(directory: Path) -> CertificateFiles:
    return CertificateFiles(str(directory / "certificate.pem"), str(directory / "key.pem"))
