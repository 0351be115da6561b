"""Make the standard library's TLS contexts from files, and make them anew when the files have changed.

This module knows no socket and no loop, and neither options nor endpoint strings: who asks for a context has read them.
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from daphne_clone.errors import ListenError, UnusableFile
from daphne_clone.transport import x509
from daphne_clone.transport.alerts import TellingSSLObject

# A peer that opens a connection and does not shake hands holds a socket: ten seconds is what slow mobile networks need
# with room to spare. asyncio's default is a minute.
HANDSHAKE_TIMEOUT_S: Final = 10.0

# How long a close waits for the peer's close_notify. asyncio's default is half a minute; many clients never send one.
SHUTDOWN_TIMEOUT_S: Final = 2.0

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*", re.DOTALL)
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

# The names Twisted takes for `sslmethod`, and the highest version each leaves. The lowest is TLS 1.2 for all.
_METHODS: Final = {
    "TLS_METHOD": ssl.TLSVersion.MAXIMUM_SUPPORTED,
    "SSLv23_METHOD": ssl.TLSVersion.MAXIMUM_SUPPORTED,
    "TLSv1_2_METHOD": ssl.TLSVersion.TLSv1_2,
}


class ServerContext(ssl.SSLContext):
    """A context that knows which certificate it shows.

    Attributes:
        certificate: The server's own, in PEM, without its chain.
        names: The host names that it is for.
    """

    certificate: str
    names: list[str]

    sslobject_class = TellingSSLObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Make one side of a session; the loops call it with the buffers they read and write."""
        ssl_object = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(ssl_object, TellingSSLObject), "sslobject_class says so"
        ssl_object.outgoing = outgoing
        return ssl_object


class RenewableContext:
    """A context, and how to make it anew from its files.

    Args:
        make: Reads the files and makes the context; called at once.

    Attributes:
        current: For connections that begin now. Those that are there keep theirs, whatever becomes of this one.

    Raises:
        Exception: What ``make`` raises.
    """

    def __init__(self, make: Callable[[], ServerContext]) -> None:
        self._make = make
        self.current = make()

    def renew(self) -> None:
        """Read the files again; when that fails, with what ``make`` raises, all stays as it is."""
        # A new context rather than new files for the old one: half of them might be loaded when one cannot be, and a
        # key of another kind would be offered beside the former one. Tickets of old sessions end with the old context.
        self.current = self._make()


def server_context(
    *,
    private_key: str,
    certificate: str,
    extra_chain: str | None = None,
    password: str | None = None,
    method: str | None = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    ciphers: str | None = None,
    dh_parameters: str | None = None,
    authorities: str | None = None,
    verify_mode: ssl.VerifyMode | None = None,
    alpn: Sequence[str] = ("http/1.1",),
) -> ServerContext:
    """Return a context for a server: no compression, no renegotiation, the server's cipher order.

    Args:
        private_key: PEM file.
        certificate: PEM file with the certificate, and behind it, if need be, its chain.
        extra_chain: PEM file with more certificates of the chain.
        password: Opens the key, if it is under one. None: such a key is refused, since nobody is there to type it.
        method: ``TLS_METHOD`` (or its old name ``SSLv23_METHOD``), or ``TLSv1_2_METHOD`` for no later version.
        minimum_version: The oldest version spoken.
        ciphers: OpenSSL's list of ciphers for TLS 1.2; None is OpenSSL's choice. Those of TLS 1.3 are all good.
        dh_parameters: PEM file for finite-field Diffie-Hellman.
        authorities: PEM file, or directory of ``*.pem`` files, with the certificates that sign those of clients.
        verify_mode: Whether clients must show a certificate; None: they must where there are authorities.
        alpn: Offered protocols, best first.

    Raises:
        UnusableFile: A file cannot be used; its parameter is named as above.
        ListenError: Another value cannot be used.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.maximum_version = _maximum_version(method)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(alpn))
    if ciphers is not None:
        set_ciphers(context, ciphers)
    _load_pair(context, private_key, certificate, extra_chain, password)
    if dh_parameters is not None:
        _read("dh_parameters", dh_parameters)
        try:
            context.load_dh_params(dh_parameters)
        except (ssl.SSLError, OSError) as error:
            raise _unusable("dh_parameters", dh_parameters, "Diffie-Hellman parameters in PEM", error) from error
    if authorities is not None:
        _load_authorities(context, authorities)
        context.verify_mode = ssl.CERT_REQUIRED if verify_mode is None else verify_mode
    return context


def choosing_by_name(contexts: Sequence[ServerContext]) -> ServerContext:
    """Return a context that shows each client the certificate for the host name it asks for (SNI, RFC 6066 section 3).

    Args:
        contexts: One for each certificate. The first is for clients that ask for no name, or for one that none has; of
            several for the same name, the first.
    """
    default, *others = contexts
    if not others:
        return default
    by_name: dict[str, ServerContext] = {}
    for context in contexts:
        for name in context.names:
            by_name.setdefault(name, context)

    def choose(ssl_object: ssl.SSLObject | ssl.SSLSocket, asked: str | None, _context: ssl.SSLContext) -> None:
        if asked is None:
            return
        name = asked.lower()
        _, _, domain = name.partition(".")
        chosen = by_name.get(name) or by_name.get(f"*.{domain}")  # RFC 9525 section 6.3: one label, and all of it
        if chosen is not None and chosen is not default:
            ssl_object.context = chosen

    default.sni_callback = choose
    return default


def set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    """Choose among the ciphers of TLS 1.2.

    Raises:
        ListenError: None of them is known.
    """
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise ListenError(f"no cipher is called {ciphers!r}") from error


def _maximum_version(method: str | None) -> ssl.TLSVersion:
    if method is None:
        return ssl.TLSVersion.MAXIMUM_SUPPORTED
    try:
        return _METHODS[method]
    except KeyError:
        raise ListenError(f"sslmethod={method} cannot be used; expected one of {', '.join(_METHODS)}") from None


def _load_pair(
    context: ServerContext, private_key: str, certificate: str, extra_chain: str | None, password: str | None
) -> None:
    # One look at each file, to tell which of them is wrong: OpenSSL's errors do not.
    certificates = _CERTIFICATE.findall(_read("certificate", certificate))
    if not certificates:
        raise UnusableFile("certificate", certificate, "a certificate in PEM", "there is none in it")
    if not _PRIVATE_KEY.search(_read("private_key", private_key)):
        raise UnusableFile("private_key", private_key, "a private key in PEM", "there is none in it")
    more = [] if extra_chain is None else _CERTIFICATE.findall(_read("extra_chain", extra_chain))
    key = _Password(password)
    try:
        context.certificate = certificates[0].decode("ascii").rstrip() + "\n"
        context.names = x509.dns_names(ssl.PEM_cert_to_DER_cert(context.certificate))
        if more:
            # The standard library takes the chain from the certificate's file only. What is copied is public: of a file
            # that holds the key too, only the certificates are taken.
            with tempfile.NamedTemporaryFile(suffix=".pem") as joined:
                joined.write(b"\n".join(certificates + more))
                joined.flush()
                context.load_cert_chain(joined.name, private_key, password=key)
        else:
            context.load_cert_chain(certificate, private_key, password=key)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            reason = "it is the key of another certificate"
            raise UnusableFile("private_key", private_key, f"the key of {certificate}", reason) from error
        if key.was_asked:
            reason = "it is protected by a passphrase" if password is None else "the password does not open it"
            raise UnusableFile("private_key", private_key, "a private key in PEM", reason) from error
        raise _unusable("certificate", certificate, f"a certificate with the key {private_key}", error) from error


class _Password:
    """What `load_cert_chain` asks for the password of a key; with nobody to ask, OpenSSL would ask the terminal.

    Attributes:
        was_asked: The key is under a password.
    """

    def __init__(self, password: str | None) -> None:
        self._password = password
        self.was_asked = False

    def __call__(self) -> str:
        self.was_asked = True
        if self._password is None:
            raise ValueError("nobody knows the password")
        return self._password


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    files = [Path(path)]
    if files[0].is_dir():
        files = sorted(files[0].glob("*.pem"))
        if not files:
            raise UnusableFile("authorities", path, "certificates in PEM", "there is no .pem file in it")
    for file in files:
        _read("authorities", str(file))
        try:
            context.load_verify_locations(cafile=file)
        except (ssl.SSLError, OSError) as error:
            raise _unusable("authorities", str(file), "certificates in PEM", error) from error


def _read(parameter: str, path: str) -> bytes:
    """Read a small file; the TLS library does not name the file that it misses."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unusable(parameter, path, "a file in PEM", error) from error


def _unusable(parameter: str, path: str, expected: str, error: Exception) -> UnusableFile:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or "unreadable"
    return UnusableFile(parameter, path, expected, str(reason).replace("_", " ").lower())
