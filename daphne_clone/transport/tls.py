"""Make the standard library's TLS context from the files an endpoint string names; it knows no socket and no loop."""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from daphne_clone.errors import ListenError

# A peer that opens a connection and does not shake hands holds a socket: ten seconds is what slow mobile networks need
# with room to spare. asyncio's default is a minute.
HANDSHAKE_TIMEOUT_S: Final = 10.0

# How long a close waits for the peer's close_notify. asyncio's default is half a minute; many clients never send one.
SHUTDOWN_TIMEOUT_S: Final = 2.0

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*", re.DOTALL)

# The names Twisted takes for `sslmethod`, and the highest version each leaves. The lowest is TLS 1.2 for all.
_METHODS: Final = {
    "TLS_METHOD": ssl.TLSVersion.MAXIMUM_SUPPORTED,
    "SSLv23_METHOD": ssl.TLSVersion.MAXIMUM_SUPPORTED,
    "TLSv1_2_METHOD": ssl.TLSVersion.TLSv1_2,
}


def server_context(
    *,
    private_key: str,
    certificate: str,
    extra_chain: str | None = None,
    method: str | None = None,
    dh_parameters: str | None = None,
    ca_directory: str | None = None,
    alpn: Sequence[str] = ("http/1.1",),
) -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 or later, no compression, no renegotiation, the server's cipher order.

    Args:
        private_key: PEM file; a key under a passphrase is refused, since nobody is there to type it.
        certificate: PEM file with the certificate, and behind it, if need be, its chain.
        extra_chain: PEM file with more certificates of the chain.
        method: ``TLS_METHOD`` (or its old name ``SSLv23_METHOD``), or ``TLSv1_2_METHOD`` for no later version.
        dh_parameters: PEM file for finite-field Diffie-Hellman.
        ca_directory: Directory of ``*.pem`` files; clients must then present a certificate signed by one of them.
        alpn: Offered protocols, best first.

    Raises:
        ListenError: Names the file, or the value, that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = _maximum_version(method)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(alpn))
    for path in filter(None, (private_key, certificate, extra_chain, dh_parameters)):
        _read(path)
    _load_pair(context, private_key, certificate, extra_chain)
    if dh_parameters is not None:
        try:
            context.load_dh_params(dh_parameters)
        except (ssl.SSLError, OSError) as error:
            raise _unusable(dh_parameters, "Diffie-Hellman parameters in PEM", error) from error
    if ca_directory is not None:
        _require_client_certificates(context, ca_directory)
    return context


def _maximum_version(method: str | None) -> ssl.TLSVersion:
    if method is None:
        return ssl.TLSVersion.MAXIMUM_SUPPORTED
    try:
        return _METHODS[method]
    except KeyError:
        raise ListenError(f"sslmethod={method} cannot be used; expected one of {', '.join(_METHODS)}") from None


def _load_pair(context: ssl.SSLContext, private_key: str, certificate: str, extra_chain: str | None) -> None:
    try:
        if extra_chain is None:
            context.load_cert_chain(certificate, private_key, password=_refuse_passphrase)
            return
        # The standard library takes the chain from the certificate's file only. What is copied is public: of a file
        # that holds the key too, only the certificates are taken.
        certificates = _CERTIFICATE.findall(_read(certificate)) + _CERTIFICATE.findall(_read(extra_chain))
        with tempfile.NamedTemporaryFile(suffix=".pem") as joined:
            joined.write(b"\n".join(certificates))
            joined.flush()
            context.load_cert_chain(joined.name, private_key, password=_refuse_passphrase)
    except ssl.SSLError as error:
        raise _unusable(f"{certificate} with {private_key}", "a certificate and its key in PEM", error) from error


def _refuse_passphrase() -> NoReturn:
    raise ListenError("the private key is protected by a passphrase, which an endpoint string cannot give")


def _require_client_certificates(context: ssl.SSLContext, directory: str) -> None:
    files = sorted(Path(directory).glob("*.pem"))
    if not files:
        raise ListenError(f"{directory}: no .pem file there to check client certificates against")
    for path in files:
        try:
            context.load_verify_locations(cafile=path)
        except (ssl.SSLError, OSError) as error:
            raise _unusable(str(path), "certificates in PEM", error) from error
    context.verify_mode = ssl.CERT_REQUIRED


def _read(path: str) -> bytes:
    """Read a small file; the TLS library does not name the file that it misses."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ListenError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _unusable(path: str, expected: str, error: OSError) -> ListenError:
    reason = getattr(error, "reason", None) or error.strerror or "unreadable"
    return ListenError(f"{path}: expected {expected} ({str(reason).replace('_', ' ').lower()})")
