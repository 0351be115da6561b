"""Which extensions an exchange can use."""

from __future__ import annotations

import pytest

from daphne_clone.asgi.extensions import http_extensions

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
