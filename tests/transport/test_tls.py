"""daphne_clone.transport.tls: contexts from files, and errors that name them."""

from __future__ import annotations

import os
import socket
import ssl
import threading

import pytest

from daphne_clone.errors import ListenError, UnusableFile
from daphne_clone.transport import tls
from tests.support.certificates import Authority, pem_of
from tests.support.streams import write_certificate


@pytest.fixture
def pair(tmp_path):
    key, certificate = write_certificate(tmp_path)
    return {"private_key": str(key), "certificate": str(certificate)}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def shake_hands(server, client, name="127.0.0.1"):
    """Return version, protocol and certificate as the client sees them, or raise what either side raised."""
    ours, theirs = socket.socketpair()
    failures = []

    def serve():
        try:
            with server.wrap_socket(ours, server_side=True) as connected:
                connected.recv(1)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as connected:
            connected.send(b"x")
            certificate = connected.getpeercert(binary_form=True)
            return connected.version(), connected.selected_alpn_protocol(), certificate
    finally:
        thread.join()
        if failures:
            raise failures[0]


def trusting(pair) -> ssl.SSLContext:
    client = ssl.create_default_context(cafile=pair["certificate"])
    client.set_alpn_protocols(["http/1.1"])
    return client


def test_the_defaults_are_today_s(pair):
    context = tls.server_context(**pair)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert context.options & ssl.OP_NO_COMPRESSION
    version, alpn, _ = shake_hands(context, trusting(pair))
    assert (version, alpn) == ("TLSv1.3", "http/1.1")


def test_a_method_bounds_the_version(pair):
    context = tls.server_context(**pair, method="TLSv1_2_METHOD")
    assert shake_hands(context, trusting(pair))[0] == "TLSv1.2"
    assert tls.server_context(**pair, method="SSLv23_METHOD").maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED


def test_an_old_method_is_refused(pair):
    with pytest.raises(ListenError, match="sslmethod=SSLv3_METHOD cannot be used; expected one of TLS_METHOD"):
        tls.server_context(**pair, method="SSLv3_METHOD")


@pytest.mark.parametrize("name", ["private_key", "certificate", "extra_chain", "dh_parameters", "authorities"])
def test_a_missing_file_is_named(pair, name):
    with pytest.raises(UnusableFile, match=r"/nowhere/it.pem: .*\(no such file or directory\)") as raised:
        tls.server_context(**{**pair, name: "/nowhere/it.pem"})
    assert (raised.value.parameter, raised.value.path) == (name, "/nowhere/it.pem")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("private_key", "a private key in PEM"),
        ("certificate", "a certificate in PEM"),
        ("dh_parameters", "Diffie-Hellman parameters in PEM"),
        ("authorities", "certificates in PEM"),
    ],
)
def test_a_file_that_is_no_pem_is_named(pair, tmp_path, name, expected):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with pytest.raises(UnusableFile, match=f"{bad}: expected {expected}") as raised:
        tls.server_context(**{**pair, name: str(bad)})
    assert raised.value.parameter == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("certificate", "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"),
        ("certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        ("private_key", "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"),
    ],
)
def test_pem_that_holds_something_else_is_refused(pair, tmp_path, name, text):
    bad = tmp_path / "bad.pem"
    bad.write_text(text)
    with pytest.raises(UnusableFile, match="bad.pem"):
        tls.server_context(**{**pair, name: str(bad)})


def test_a_key_of_another_certificate_is_refused(pair, tmp_path):
    other_key, _ = write_certificate(tmp_path, "other")
    with pytest.raises(UnusableFile, match="other.key: .*it is the key of another certificate") as raised:
        tls.server_context(private_key=str(other_key), certificate=pair["certificate"])
    assert raised.value.parameter == "private_key"


def test_a_key_under_a_passphrase_is_opened_with_it_and_refused_without(authority):
    files = authority.sign("locked", password="secret")
    named = {"private_key": files.key, "certificate": files.certificate}
    with pytest.raises(UnusableFile, match=f"{files.key}: .*it is protected by a passphrase"):
        tls.server_context(**named)
    with pytest.raises(UnusableFile, match=f"{files.key}: .*the password does not open it") as raised:
        tls.server_context(**named, password="wrong")
    assert "wrong" not in str(raised.value)
    context = tls.server_context(**named, password="secret")
    assert shake_hands(context, authority.client_context())[0] == "TLSv1.3"


def test_a_password_that_no_key_asks_for_does_no_harm(pair):
    assert tls.server_context(**pair, password="secret")


def test_one_file_may_hold_key_and_certificate(pair, tmp_path):
    both = tmp_path / "both.pem"
    with open(pair["private_key"]) as key, open(pair["certificate"]) as certificate:
        both.write_text(key.read() + certificate.read())
    context = tls.server_context(private_key=str(both), certificate=str(both))
    assert shake_hands(context, trusting(pair))[0] == "TLSv1.3"


def test_an_extra_chain_is_sent_behind_the_certificate(pair, tmp_path, monkeypatch):
    _, intermediate = write_certificate(tmp_path, "intermediate")
    loaded = []

    load = ssl.SSLContext.load_cert_chain

    def recording(context, certfile, *arguments, **keywords):
        with open(certfile) as file:
            loaded.append(file.read())
        load(context, certfile, *arguments, **keywords)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", recording)
    context = tls.server_context(**pair, extra_chain=str(intermediate))
    monkeypatch.undo()
    with open(pair["certificate"]) as first, open(intermediate) as second:
        assert loaded[0].split() == (first.read() + second.read()).split()
    assert shake_hands(context, trusting(pair))[0] == "TLSv1.3"


def test_clients_must_show_a_certificate_when_there_is_something_to_check_it_with(pair, tmp_path):
    authorities = tmp_path / "authorities"
    authorities.mkdir()
    client_key, client_certificate = write_certificate(tmp_path, "client")
    (authorities / "client.pem").write_bytes(client_certificate.read_bytes())
    context = tls.server_context(**pair, method="TLSv1_2_METHOD", authorities=str(authorities))
    client = trusting(pair)
    with pytest.raises(OSError, match="(?i)certificate|handshake|reset"):
        shake_hands(context, client)
    client.load_cert_chain(client_certificate, client_key)
    assert shake_hands(context, client)[0] == "TLSv1.2"


def test_a_directory_without_certificates_is_named(pair, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UnusableFile, match=f"{empty}: .*no .pem file") as raised:
        tls.server_context(**pair, authorities=str(empty))
    assert raised.value.parameter == "authorities"


def test_clients_may_show_a_certificate_but_not_a_bad_one(pair, authority, tmp_path):
    context = tls.server_context(**pair, authorities=authority.file, verify_mode=ssl.CERT_OPTIONAL)
    client = trusting(pair)
    assert shake_hands(context, client)[0] == "TLSv1.3"
    own = authority.sign("client")
    client.load_cert_chain(own.certificate, own.key)
    assert shake_hands(context, client)[0] == "TLSv1.3"
    (tmp_path / "others").mkdir()
    stranger = Authority(tmp_path / "others").sign("client")
    client.load_cert_chain(stranger.certificate, stranger.key)
    with pytest.raises(OSError, match="(?i)certificate|alert|reset"):
        shake_hands(context, client)


# Versions and ciphers


def test_a_minimum_version_is_held(pair):
    client = trusting(pair)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(tls.server_context(**pair), client)[0] == "TLSv1.2"
    with pytest.raises(OSError, match="(?i)version|unsupported|reset"):
        shake_hands(tls.server_context(**pair, minimum_version=ssl.TLSVersion.TLSv1_3), client)


def test_ciphers_are_chosen_and_unknown_ones_refused(pair):
    context = tls.server_context(**pair, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    old = {each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"}
    assert old == {"ECDHE-ECDSA-AES128-GCM-SHA256"}
    with pytest.raises(ListenError, match="no cipher is called 'NONSENSE'"):
        tls.server_context(**pair, ciphers="NONSENSE")


def test_protocols_are_offered_in_their_order(pair):
    client = trusting(pair)
    client.set_alpn_protocols(["http/1.1", "h2"])
    assert shake_hands(tls.server_context(**pair, alpn=["h2", "http/1.1"]), client)[1] == "h2"
    assert shake_hands(tls.server_context(**pair, alpn=["http/1.1"]), client)[1] == "http/1.1"
    assert shake_hands(tls.server_context(**pair, alpn=["other"]), client)[1] is None


# Several certificates


def shown(server, client, name):
    """The certificate that a client is shown who asks for a name."""
    client.check_hostname = False
    return ssl.DER_cert_to_PEM_cert(shake_hands(server, client, name)[2])


@pytest.fixture
def chosen(authority):
    """The context of three certificates, and what is shown to whom."""
    contexts = {}
    for name, hosts in {
        "first": ["www.example.org"],
        "second": ["*.example.org", "www.example.org"],
        "third": ["a.example.org", "example.net"],
    }.items():
        files = authority.sign(name, hosts)
        contexts[name] = tls.server_context(private_key=files.key, certificate=files.certificate)
    context = tls.choosing_by_name(list(contexts.values()))
    by_certificate = {each.certificate: name for name, each in contexts.items()}
    return lambda name: by_certificate[shown(context, authority.client_context(), name)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("www.example.org", "first"),
        ("WWW.Example.ORG", "first"),
        ("b.example.org", "second"),
        ("a.example.org", "third"),
        ("example.net", "third"),
        ("example.org", "first"),
        ("a.b.example.org", "first"),
        ("elsewhere.example", "first"),
        (None, "first"),
    ],
)
def test_the_certificate_is_chosen_by_the_name_asked_for(chosen, asked, expected):
    assert chosen(asked) == expected


def test_one_certificate_is_not_chosen_from(pair):
    context = tls.server_context(**pair)
    assert tls.choosing_by_name([context]) is context
    assert context.sni_callback is None


def test_the_chain_goes_with_the_certificate(tmp_path):
    root = Authority(tmp_path, "root")
    files = Authority(tmp_path, "intermediate", issuer=root).sign("leaf")
    context = tls.server_context(private_key=files.key, certificate=files.certificate)
    assert shake_hands(context, root.client_context())[0] == "TLSv1.3"
    assert context.certificate == pem_of(files.certificate)[0]


# Renewal


def test_a_context_is_made_anew_from_files_that_have_changed(authority):
    files = authority.sign("one", file="server")
    renewable = tls.RenewableContext(lambda: tls.server_context(private_key=files.key, certificate=files.certificate))
    before = renewable.current
    authority.sign("two", file="server")
    renewable.renew()
    assert renewable.current is not before
    now = shown(renewable.current, authority.client_context(), None)
    assert now == pem_of(files.certificate)[0] != before.certificate


def test_a_context_stays_when_its_files_cannot_be_used(authority):
    files = authority.sign("one", file="server")
    renewable = tls.RenewableContext(lambda: tls.server_context(private_key=files.key, certificate=files.certificate))
    before = renewable.current
    authority.sign("two", file="other")
    os.replace(files.certificate.replace("server", "other"), files.certificate)  # and its key is not there yet
    with pytest.raises(UnusableFile, match="another certificate"):
        renewable.renew()
    assert renewable.current is before
    assert shake_hands(before, authority.client_context())[0] == "TLSv1.3"
