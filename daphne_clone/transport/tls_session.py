"""What a TLS handshake has agreed on, in plain values: for those who may not know of ``ssl``."""

from __future__ import annotations

import ssl
import sys
from typing import Any, Final, cast

from daphne_clone.transport import x509

# By the name the standard library gives; RFC 8446 section 4.2.1 has the numbers. Older ones are refused.
_VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

_ENCODING_DER: Final = 2  # _ssl.ENCODING_DER

# By OpenSSL's names; filled as they are met, a few dozen at most.
_cipher_suites: dict[str, int] = {}


class TLSSession:
    """One connection's session.

    Args:
        ssl_object: Its handshake is complete.

    Attributes:
        version: As in the protocol, such as 0x0304 for TLS 1.3; None for one that is not known here.
        cipher_suite: IANA's number.
        server_certificate: What we have shown, in PEM; None where the context was not made by ``tls``.
        client_chain: What the client has shown, each in PEM, its own first; empty if it showed none. Of a session that
            is resumed only its own is known.
        client_name: The subject of the client's certificate (RFC 4514); None without one.
    """

    __slots__ = ("cipher_suite", "client_chain", "client_name", "server_certificate", "version")

    def __init__(self, ssl_object: ssl.SSLObject) -> None:
        cipher = ssl_object.cipher()
        assert cipher is not None, "the handshake is complete"
        self.version = _VERSIONS.get(cast(str, ssl_object.version()))  # as above
        self.cipher_suite = _cipher_suite(cipher[0], ssl_object.context)
        # By SNI the context may be another than the port's.
        self.server_certificate: str | None = getattr(ssl_object.context, "certificate", None)
        chain = _chain_of_peer(ssl_object)
        self.client_chain = [ssl.DER_cert_to_PEM_cert(each) for each in chain]
        self.client_name = _name_of(chain[0]) if chain else None


def _cipher_suite(name: str, context: ssl.SSLContext) -> int:
    if name not in _cipher_suites:
        # OpenSSL's number is IANA's with the protocol's generation above it.
        _cipher_suites.update((each["name"], each["id"] & 0xFFFF) for each in context.get_ciphers())
    return _cipher_suites[name]


def _name_of(certificate: bytes) -> str | None:
    try:
        return x509.subject_name(certificate)
    except ValueError:  # OpenSSL can read it, and we cannot: whoever goes by names has to take it for nobody's
        return None


def _chain_of_peer(ssl_object: ssl.SSLObject) -> list[bytes]:
    own = ssl_object.getpeercert(binary_form=True)
    if own is None:
        return []
    if sys.version_info >= (3, 13):
        chain: list[bytes] = ssl_object.get_unverified_chain()
    else:
        # 3.10 has it already, but not in public.
        inner: Any = ssl_object._sslobj  # type: ignore[attr-defined]  # typeshed leaves out what is private
        chain = [each.public_bytes(_ENCODING_DER) for each in inner.get_unverified_chain() or ()]
    return chain or [own]
