"""Which extensions an exchange can use."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daphne_clone.asgi.extensions import http_extensions, tls_extension

FILES = {"http.response.pathsend", "http.response.zerocopysend"}
INTERIM = {"http.response.trailers", "http.response.early_hint"}


@pytest.mark.parametrize(
    ("version", "files", "names"),
    [
        ("1.0", False, set()),
        ("1.0", True, FILES),
        ("1.1", False, INTERIM),
        ("1.1", True, FILES | INTERIM),
        ("2", True, FILES | INTERIM),
    ],
)
def test_extensions_are_those_that_the_connection_can_carry(version: str, files: bool, names: set[str]) -> None:
    extensions = http_extensions(version, can_send_files=files)
    assert set(extensions) == names
    assert all(value == {} for value in extensions.values())


def test_tls_is_told_in_the_words_of_asgi() -> None:
    session = SimpleNamespace(
        version=0x0304,
        cipher_suite=0x1301,
        server_certificate="ours",
        client_chain=["theirs", "who signed it"],
        client_name="CN=client",
    )
    assert tls_extension(session) == {
        "tls": {
            "server_cert": "ours",
            "client_cert_chain": ["theirs", "who signed it"],
            "client_cert_name": "CN=client",
            "client_cert_error": None,
            "tls_version": 0x0304,
            "cipher_suite": 0x1301,
        }
    }
