"""The certificate, and the client's side of a TLS connection."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from bench import tls
from bench.errors import EnvironmentFailed, MeasurementFailed
from tests.bench.tls_servers import Answering, conversing


def test_certificate_is_made_once_and_its_key_is_in_the_form_that_every_server_reads(tls_files: Path) -> None:
    key, certificate = tls_files / tls.KEY.name, tls_files / tls.CERTIFICATE.name
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----")  # PKCS#8: Granian takes nothing else
    before = key.read_bytes(), certificate.read_bytes()
    tls.make_certificate(tls_files)
    assert (key.read_bytes(), certificate.read_bytes()) == before
    assert sorted(os.listdir(tls_files)) == sorted([key.name, certificate.name])


def test_missing_openssl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="no certificate for the TLS scenarios: .*openssl"):
        tls.make_certificate(tmp_path / "tls")


def test_failing_openssl_is_told_and_leaves_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho no such curve >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="no such curve"):
        tls.make_certificate(tmp_path / "tls")
    assert not (tmp_path / "tls" / tls.CERTIFICATE.name).exists()


def test_connection_is_the_newest_tls_and_offers_what_it_is_told(tls_context: ssl.SSLContext) -> None:
    tls_context.set_alpn_protocols(["h2", "http/1.1"])
    with conversing(Answering(tls_context, b"answer")) as port:
        for offered, agreed in (["h2"], "h2"), ([], None):
            with tls.connect(port, timeout_s=5, protocols=offered) as connection:
                assert connection.version() == "TLSv1.3"
                assert connection.selected_alpn_protocol() == agreed


def test_older_tls_is_a_failure(tls_context: ssl.SSLContext) -> None:
    tls_context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        conversing(Answering(tls_context, b"")) as port,
        pytest.raises(MeasurementFailed, match=r"negotiated TLSv1\.2 instead of TLSv1\.3"),
    ):
        tls.connect(port, timeout_s=5)


def test_certificate_of_somebody_else_is_a_failure(tls_context: ssl.SSLContext, tmp_path: Path) -> None:
    tls.make_certificate(tmp_path)
    tls_context.load_cert_chain(tmp_path / tls.CERTIFICATE.name, tmp_path / tls.KEY.name)
    with conversing(Answering(tls_context, b"")) as port, pytest.raises(ssl.SSLCertVerificationError):
        tls.connect(port, timeout_s=5)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="reads the settings with openssl")
def test_settings_of_wrk_leave_one_cipher_of_tls_1_3() -> None:
    environment = os.environ | tls.WRK_ENVIRONMENT
    done = subprocess.run(
        ["openssl", "ciphers", "-s", "-tls1_3"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [tls.CIPHER]
    settings = Path(tls.WRK_ENVIRONMENT["OPENSSL_CONF"]).read_text().splitlines()
    assert {f"MinProtocol = {tls.PROTOCOL}", f"Groups = {tls.GROUP}"} <= set(settings)
