"""Which ASGI extensions an exchange can use; a scope lists exactly those its connection can carry."""

from __future__ import annotations

import functools
from typing import Protocol


class TLSSession(Protocol):
    """What is known of a connection's TLS; `transport.tls_session` documents each."""

    @property
    def version(self) -> int | None: ...
    @property
    def cipher_suite(self) -> int: ...
    @property
    def server_certificate(self) -> str | None: ...
    @property
    def client_chain(self) -> list[str]: ...
    @property
    def client_name(self) -> str | None: ...


@functools.lru_cache
def http_extensions(http_version: str, *, can_send_files: bool) -> dict[str, dict[str, object]]:
    """The extensions for a request.

    Args:
        http_version: HTTP/1.0 has neither trailers nor interim responses.
        can_send_files: The transport can send from a file.

    Returns:
        A mapping to copy before use, as scopes have it.
    """
    names = []
    if can_send_files:
        names += ["http.response.pathsend", "http.response.zerocopysend"]
    if http_version != "1.0":
        names += ["http.response.trailers", "http.response.early_hint"]
    return {name: {} for name in names}


def tls_extension(session: TLSSession) -> dict[str, dict[str, object]]:
    """What every request of a connection under TLS is told of it (ASGI "TLS Extension" 0.2).

    Args:
        session: Of the connection.

    Returns:
        The extension under its name.
    """
    return {
        "tls": {
            "server_cert": session.server_certificate,
            "client_cert_chain": session.client_chain,
            "client_cert_name": session.client_name,
            "client_cert_error": None,  # a handshake with a certificate that is not valid fails
            "tls_version": session.version,
            "cipher_suite": session.cipher_suite,
        }
    }
