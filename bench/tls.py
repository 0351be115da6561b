"""The certificate of all servers, and what the clients of the TLS scenarios have in common.

Every connection is TLS 1.3 with the same cipher and key exchange, whatever a server or a newer OpenSSL would rather
take, and the certificate has an ECDSA key, as most new ones have: a server that negotiated something cheaper would look
faster than it is. Browsers offer this cipher first.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.compiler import BUILD
from bench.errors import EnvironmentFailed, MeasurementFailed

DIRECTORY = BUILD / "tls"
KEY = DIRECTORY / "key.pem"
CERTIFICATE = DIRECTORY / "certificate.pem"
PROTOCOL = "TLSv1.3"
CIPHER = "TLS_AES_128_GCM_SHA256"
GROUP = "X25519"

WRK_ENVIRONMENT = {"OPENSSL_CONF": str(Path(__file__).with_name("tls.cnf"))}
"""wrk has no options for that; its OpenSSL reads them from there."""

_VALID_DAYS = 3650
_OPENSSL_TIMEOUT_S = 30


def make_certificate(directory: Path = DIRECTORY) -> None:
    """Make the key and the certificate for 127.0.0.1, unless they are there.

    Raises:
        EnvironmentFailed: there is no `openssl`, or it failed.
    """
    key, certificate = directory / KEY.name, directory / CERTIFICATE.name
    if certificate.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / f"{CERTIFICATE.name}.{os.getpid()}"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(new), "-days", str(_VALID_DAYS), "-subj", "/CN=bench"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_OPENSSL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"no certificate for the TLS scenarios: {error}") from error
    if done.returncode:
        raise EnvironmentFailed(f"no certificate for the TLS scenarios: {done.stderr.strip()[-800:]}")
    new.replace(certificate)  # last: where there is a certificate, there is the key that belongs to it


def connect(port: int, *, timeout_s: float, protocols: Sequence[str] = ()) -> ssl.SSLSocket:
    """Connect to 127.0.0.1 and go through the handshake.

    Args:
        protocols: what is offered by ALPN; nothing is, where there are none.

    Raises:
        MeasurementFailed: the server negotiated another version of TLS.
        OSError: there is no connection, no handshake, or the certificate is not ours.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(CERTIFICATE)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    plain = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    try:
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
    except BaseException:
        plain.close()
        raise
    version = connection.version()
    if version != PROTOCOL:
        connection.close()
        raise MeasurementFailed(f"negotiated {version} instead of {PROTOCOL}")
    return connection
