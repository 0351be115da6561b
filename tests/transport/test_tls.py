"""daphne_clone.transport.tls: contexts from files, and errors that name them."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from cryptography.hazmat.primitives import serialization

from daphne_clone.errors import ListenError
from daphne_clone.transport import tls
from tests.support.streams import write_certificate


@pytest.fixture
def pair(tmp_path):
    key, certificate = write_certificate(tmp_path)
    return {"private_key": str(key), "certificate": str(certificate)}


def shake_hands(server, client):
    """Return the client's session after a handshake in memory, or raise what either side raised."""
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
        with client.wrap_socket(theirs, server_hostname="127.0.0.1") as connected:
            connected.send(b"x")
            return connected.version(), connected.selected_alpn_protocol()
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
    version, alpn = shake_hands(context, trusting(pair))
    assert (version, alpn) == ("TLSv1.3", "http/1.1")


def test_a_method_bounds_the_version(pair):
    context = tls.server_context(**pair, method="TLSv1_2_METHOD")
    assert shake_hands(context, trusting(pair))[0] == "TLSv1.2"
    assert tls.server_context(**pair, method="SSLv23_METHOD").maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED


def test_an_old_method_is_refused(pair):
    with pytest.raises(ListenError, match="sslmethod=SSLv3_METHOD cannot be used; expected one of TLS_METHOD"):
        tls.server_context(**pair, method="SSLv3_METHOD")


@pytest.mark.parametrize("name", ["private_key", "certificate", "extra_chain", "dh_parameters"])
def test_a_missing_file_is_named(pair, name):
    with pytest.raises(ListenError, match="/nowhere/it.pem: no such file or directory"):
        tls.server_context(**{**pair, name: "/nowhere/it.pem"})


def test_files_that_are_no_pem_are_named(pair, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with pytest.raises(ListenError, match=f"{bad} with .*: expected a certificate and its key in PEM"):
        tls.server_context(private_key=pair["private_key"], certificate=str(bad))
    with pytest.raises(ListenError, match=f"{bad}: expected Diffie-Hellman parameters in PEM"):
        tls.server_context(**pair, dh_parameters=str(bad))


def test_a_key_of_another_certificate_is_refused(pair, tmp_path):
    other_key, _ = write_certificate(tmp_path, "other")
    with pytest.raises(ListenError, match="other.key: .*key values mismatch"):
        tls.server_context(private_key=str(other_key), certificate=pair["certificate"])


def test_a_key_under_a_passphrase_is_refused_without_asking(pair, tmp_path):
    with open(pair["private_key"], "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ListenError, match="is protected by a passphrase"):
        tls.server_context(private_key=str(locked), certificate=pair["certificate"])


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
    context = tls.server_context(**pair, method="TLSv1_2_METHOD", ca_directory=str(authorities))
    client = trusting(pair)
    with pytest.raises(OSError, match="(?i)certificate|handshake|reset"):
        shake_hands(context, client)
    client.load_cert_chain(client_certificate, client_key)
    assert shake_hands(context, client)[0] == "TLSv1.2"


def test_a_directory_without_certificates_is_named(pair, tmp_path):
    with pytest.raises(ListenError, match=f"{tmp_path}: no .pem file"):
        tls.server_context(**pair, ca_directory=str(tmp_path))
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(ListenError, match="bad.pem: expected certificates in PEM"):
        tls.server_context(**pair, ca_directory=str(tmp_path))
