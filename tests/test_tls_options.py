"""Options for TLS: what becomes of them, and which of them is named when a file cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from daphne_clone.errors import ConfigurationError
from daphne_clone.settings import Settings, settings_from_options
from daphne_clone.tls_options import alpn_protocols, renewable_context
from tests.support.certificates import Authority, pem_of


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def files(authority):
    return authority.sign("server", ["one.example"])


def context_of(**options):
    return renewable_context(settings_from_options(**options)).current


def test_there_is_no_tls_by_default():
    assert renewable_context(Settings()) is None


def test_options_become_a_context(files, authority):
    context = context_of(
        ssl_certfile=Path(files.certificate),
        ssl_keyfile=[files.key],
        ssl_ca_certs=authority.file,
        ssl_cert_reqs="optional",
        ssl_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
        ssl_min_version="1.3",
    )
    assert context.certificate == pem_of(files.certificate)[0]
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"] == [
        "ECDHE-ECDSA-AES128-GCM-SHA256"
    ]
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (None, ssl.CERT_REQUIRED),
        ("none", ssl.CERT_NONE),
        ("optional", ssl.CERT_OPTIONAL),
        (2, ssl.CERT_REQUIRED),
        (ssl.CERT_OPTIONAL, ssl.CERT_OPTIONAL),
    ],
)
def test_authorities_mean_that_clients_need_a_certificate_unless_it_is_said_otherwise(files, authority, given, mode):
    context = context_of(
        ssl_certfile=files.certificate, ssl_keyfile=files.key, ssl_ca_certs=authority.file, ssl_cert_reqs=given
    )
    assert context.verify_mode == mode


def test_files_are_found_again_from_another_directory(authority, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    authority.sign("server")
    context = renewable_context(
        settings_from_options(ssl_certfile="server.crt", ssl_keyfile="server.key", ssl_ca_certs="authority.pem")
    )
    monkeypatch.chdir("/")
    before = context.current
    context.renew()
    assert context.current is not before


def test_key_may_be_in_the_file_of_the_certificate(files, tmp_path):
    both = tmp_path / "both.pem"
    both.write_text(Path(files.key).read_text() + Path(files.certificate).read_text())
    assert context_of(ssl_certfile=both).certificate == pem_of(files.certificate)[0]


def test_password_opens_the_key(authority):
    files = authority.sign("locked", password="secret")
    assert context_of(ssl_certfile=files.certificate, ssl_keyfile=files.key, ssl_keyfile_password="secret")


def test_several_certificates_are_chosen_from_by_name(files, authority):
    other = authority.sign("other", ["two.example"])
    context = context_of(ssl_certfile=[files.certificate, other.certificate], ssl_keyfile=[files.key, other.key])
    assert context.certificate == pem_of(files.certificate)[0]
    assert context.sni_callback is not None


def test_http_2_is_offered_unless_it_is_off():
    assert alpn_protocols(Settings()) == ("h2", "http/1.1")
    assert alpn_protocols(Settings(http2=False)) == ("http/1.1",)


# What cannot be used


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("ssl_certfile", "/nowhere/it.pem", r"a file in PEM \(no such file or directory\)"),
        ("ssl_keyfile", "/nowhere/it.pem", r"a file in PEM \(no such file or directory\)"),
        ("ssl_ca_certs", "/nowhere/it.pem", r"a file in PEM \(no such file or directory\)"),
        ("ssl_certfile", __file__, r"a certificate in PEM \(there is none in it\)"),
        ("ssl_keyfile", __file__, r"a private key in PEM \(there is none in it\)"),
        ("ssl_ca_certs", __file__, "certificates in PEM"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_option(files, name, path, reason):
    options = {"ssl_certfile": files.certificate, "ssl_keyfile": files.key, name: path}
    with pytest.raises(ConfigurationError, match=f"{name}: '{path}' cannot be used; expected {reason}"):
        context_of(**options)


def test_a_certificate_without_its_key_is_named_where_the_key_was_looked_for(files):
    with pytest.raises(ConfigurationError, match="ssl_certfile: .* expected a private key in PEM"):
        context_of(ssl_certfile=files.certificate)


def test_a_password_that_is_missing_or_wrong_is_told_with_the_key_and_not_shown(authority):
    files = authority.sign("locked", password="secret")
    options = {"ssl_certfile": files.certificate, "ssl_keyfile": files.key}
    with pytest.raises(ConfigurationError, match="ssl_keyfile: .*it is protected by a passphrase"):
        context_of(**options)
    with pytest.raises(ConfigurationError, match="ssl_keyfile: .*the password does not open it") as raised:
        context_of(**options, ssl_keyfile_password="guessed")
    assert "guessed" not in str(raised.value)


def test_ciphers_that_are_none_are_named(files):
    with pytest.raises(ConfigurationError, match="ssl_ciphers: 'NONSENSE' cannot be used"):
        context_of(ssl_certfile=files.certificate, ssl_keyfile=files.key, ssl_ciphers="NONSENSE")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ssl_keyfile": "k"}, "ssl_keyfile: 'k' cannot be used; expected ssl-certfile beside it"),
        (
            {"ssl_certfile": ["a", "b"], "ssl_keyfile": "k"},
            "ssl_keyfile: 'k' .* one for each ssl-certfile, which are 2",
        ),
        ({"ssl_certfile": "a", "ssl_keyfile": ["k", "l"]}, "ssl_keyfile: 'k, l' .* which are 1"),
        ({"ssl_ca_certs": "a"}, "ssl_ca_certs: 'a' .* ssl-certfile beside it"),
        ({"ssl_cert_reqs": "required"}, "ssl_cert_reqs: 'required' .* ssl-certfile beside it"),
        ({"ssl_certfile": "a", "ssl_cert_reqs": "optional"}, "ssl_cert_reqs: 'optional' .* ssl-ca-certs to check"),
        ({"ssl_ciphers": "HIGH"}, "ssl_ciphers: 'HIGH' .* ssl-certfile beside it"),
        ({"ssl_keyfile_password": "secret"}, r"ssl_keyfile_password: '\*\*\*' .* ssl-certfile, or an endpoint"),
        ({"ssl_keyfile_password": "a\0b", "ssl_certfile": "a"}, r"ssl_keyfile_password: '\*\*\*' cannot be used"),
        ({"redirect_http": "127.0.0.1"}, "redirect_http: '127.0.0.1' .* ssl-certfile, or an endpoint"),
        ({"ssl_certfile": "a", "redirect_http_port": 443}, "redirect_http_port: 443 .* redirect-http beside it"),
        ({"ssl_certfile": "a", "ssl_min_version": "1.1"}, "ssl_min_version: '1.1' .* 1.2 or 1.3"),
        ({"ssl_certfile": "a", "ssl_cert_reqs": 3}, "ssl_cert_reqs: 3 .* none, optional or required"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_told(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        settings_from_options(**options)


def test_endpoints_with_certificates_of_their_own_are_enough_for_a_password_and_a_redirect():
    options = {"endpoints": ["ssl:443"], "ssl_keyfile_password": "x", "redirect_http": "0.0.0.0"}
    assert settings_from_options(**options).redirect_http == ("0.0.0.0",)
