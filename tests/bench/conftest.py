"""The certificate of the TLS tests, made once for each test process."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from bench import tls


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what ``bench.tls`` makes."""
    if shutil.which("openssl") is None:
        pytest.skip("the certificate is made by openssl, which is not on PATH")
    directory = tmp_path_factory.mktemp("tls")
    tls.make_certificate(directory)
    return directory


@pytest.fixture
def tls_context(tls_files: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context with the certificate that the clients of ``bench`` expect."""
    monkeypatch.setattr("bench.tls.CERTIFICATE", tls_files / tls.CERTIFICATE.name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls_files / tls.CERTIFICATE.name, tls_files / tls.KEY.name)
    return context
