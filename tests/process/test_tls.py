"""TLS of a real server to real clients: renewal on SIGHUP, sessions, redirects, and what is wrong with files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Authority, pem_of
from tests.support.http1 import Connection, head
from tests.support.server_process import APPS, ServerProcess
from tests.support.tls_client import TLSConnection, request

needs = {name: pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} here") for name in ("curl", "openssl")}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def files(authority):
    return authority.sign("server")


def certificate_options(files):
    return ["--ssl-certfile", files.certificate, "--ssl-keyfile", files.key]


def curl(server, authority, *arguments, path="/hello/x"):
    url = "https://{}:{}{}".format(*server.address, path)
    done = subprocess.run(
        ["curl", "-sS", "--cacert", authority.file, "--max-time", "5", *arguments, url],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else done.stderr


def s_client(server, authority, *arguments):
    """Make a request with OpenSSL's own client, and return what it says of the session."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "{}:{}".format(*server.address), "-CAfile", authority.file, *arguments],
        input="GET /hello/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout


def shown_certificate(server, authority):
    with TLSConnection(server.address, authority.client_context()) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.tls.getpeercert(binary_form=True))


# Renewal


@pytest.mark.parametrize("kind", ["options", "endpoint"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_renewed_certificate_is_for_new_connections_and_drops_nobody(authority, files, kind, loop):
    before = pem_of(files.certificate)[0]
    where = certificate_options(files)
    listen = ["-p", "0"]
    if kind == "endpoint":
        where, listen = [], ["-e", f"ssl:0:interface=127.0.0.1:privateKey={files.key}:certKey={files.certificate}"]
    with ServerProcess(options=[*where, "--loop", loop], listen=listen) as server:
        with TLSConnection(server.address, authority.client_context()) as kept:
            assert kept.request("/hello/x").body == b"hello"
            assert shown_certificate(server, authority) == before
            authority.sign("server")
            server.send_signal(signal.SIGHUP)
            server.wait_for_log("The certificates of https://127.0.0.1:[0-9]+ have been read again")
            assert shown_certificate(server, authority) == pem_of(files.certificate)[0] != before
            assert kept.request("/hello/x").body == b"hello"
        assert server.stop() == 0


def test_files_that_are_bad_at_a_renewal_are_told_of_and_the_old_stay(authority, files):
    before = pem_of(files.certificate)[0]
    with ServerProcess(options=certificate_options(files)) as server:
        key = Path(files.key).read_bytes()
        for damage, complaint in (
            (lambda: Path(files.key).write_text("nothing"), f"ssl_keyfile: '{files.key}'.*there is none in it"),
            (lambda: os.unlink(files.key), f"ssl_keyfile: '{files.key}'.*no such file or directory"),
        ):
            damage()
            server.send_signal(signal.SIGHUP)
            server.wait_for_log(f"ERROR .*The certificates of https://.* stay as they were: {complaint}")
            assert shown_certificate(server, authority) == before
        Path(files.key).write_bytes(key)
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("have been read again")
        assert shown_certificate(server, authority) == before
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_hangup_ends_a_server_without_certificates():
    with ServerProcess() as server:
        assert server.stop(signal.SIGHUP) == -signal.SIGHUP


@needs["curl"]
def test_download_goes_on_over_a_renewal(authority, files):
    with ServerProcess(options=certificate_options(files)) as server:
        with TLSConnection(server.address, authority.client_context()) as connection:
            connection.send(head("/stream/k"))
            connection.read_head()
            assert connection.read_chunk() == b"first"
            authority.sign("server")
            server.send_signal(signal.SIGHUP)
            server.wait_for_log("have been read again")
            assert curl(server, authority, path="/release/k") is not None
            assert connection.read_chunk() == b"second"
        assert server.stop() == 0


def test_service_of_twistd_renews_too(authority, files):
    before = pem_of(files.certificate)[0]
    twistd = [str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", "daphne_clone"]
    arguments = [*twistd, "--app-dir", str(APPS), "-p", "0", *certificate_options(files), "apps:application"]
    with ServerProcess(program=arguments) as server:
        assert shown_certificate(server, authority) == before
        for count in (1, 2):
            authority.sign("server")
            server.send_signal(signal.SIGHUP)
            server.wait_for_log("(?s)" + count * ".*have been read again")
            assert shown_certificate(server, authority) == pem_of(files.certificate)[0] != before
        assert request(server.address, authority.client_context(), "/hello/x").body == b"hello"
        assert server.stop() == -signal.SIGTERM


# Clients


@needs["curl"]
def test_curl_is_served(authority, files):
    with ServerProcess(options=certificate_options(files)) as server:
        assert curl(server, authority, "--http1.1") == "hello"
        assert curl(server, authority, "--http2", "-w", " %{http_version}") == "hello 2"
        assert curl(server, authority, "--tls-max", "1.2", "--http1.1") == "hello"


@needs["curl"]
def test_curl_needs_its_certificate_where_one_is_required(authority, files):
    own = authority.sign("client")
    with ServerProcess(options=[*certificate_options(files), "--ssl-ca-certs", authority.file]) as server:
        assert curl(server, authority, "--cert", own.certificate, "--key", own.key) == "hello"
        assert re.match(r"curl: \(\d+\)", curl(server, authority))
        assert server.stop() == 0
        assert "Traceback" not in server.log


@needs["openssl"]
def test_openssl_resumes_sessions_of_both_versions(authority, files, tmp_path):
    session = str(tmp_path / "session")
    with ServerProcess(options=certificate_options(files)) as server:
        reconnected = s_client(server, authority, "-tls1_2", "-reconnect")
        assert reconnected.count("New, TLSv1.2") == 1
        assert reconnected.count("Reused, TLSv1.2") == 5
        assert "New, TLSv1.3" in s_client(server, authority, "-tls1_3", "-ign_eof", "-sess_out", session)
        assert "Reused, TLSv1.3" in s_client(server, authority, "-tls1_3", "-ign_eof", "-sess_in", session)


@needs["openssl"]
def test_openssl_is_shown_the_chain_and_offered_the_protocols(authority, tmp_path):
    files = Authority(tmp_path, "intermediate", issuer=authority).sign("leaf")
    with ServerProcess(options=certificate_options(files)) as server:
        told = s_client(server, authority, "-ign_eof", "-alpn", "http/1.1")
        assert "s:CN = intermediate" in told.replace("CN=", "CN = ")
        assert "Verify return code: 0 (ok)" in told
        assert "ALPN protocol: http/1.1" in told


FLOOD = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    while scope["path"] == "/flood":
        await send({"type": "http.response.body", "body": bytes(16384), "more_body": True})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_clients_that_reset_a_stream_leave_no_trace_in_the_log(authority, files, tmp_path, loop):
    (tmp_path / "flood.py").write_text(FLOOD)
    options = [*certificate_options(files), "--app-dir", str(tmp_path), "--loop", loop, "--no-access-log"]
    with ServerProcess("flood:app", options) as server:
        for _ in range(20):
            with TLSConnection(server.address, authority.client_context()) as connection:
                connection.send(head("/flood"))
                connection.read_head()
                connection.reset()
        assert request(server.address, authority.client_context(), "/").body == b"hello"
        assert server.stop() == 0
        assert not re.search("WARNING|ERROR|Traceback", server.log)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "half a hello"])
def test_client_that_does_not_shake_hands_is_closed_in_time(files, sent):
    options = [*certificate_options(files), "--ssl-handshake-timeout", "0.2"]
    with ServerProcess(options=options) as server, Connection(server.address) as connection:
        connection.send(sent)
        assert connection.is_closed()


# Redirects


def redirected(address, request_head):
    with Connection(address) as connection:
        connection.send(request_head)
        response = connection.read_response()
        assert connection.is_closed()
        return response.status, response.get(b"location")


def test_plain_http_is_sent_on_to_https(authority, files):
    options = [*certificate_options(files), "--redirect-http", "127.0.0.1:0"]
    with ServerProcess(options=options) as server:
        https, plain = server.addresses
        port = b"%d" % https[1]
        for host in (b"a.example", b"a.example:80"):
            asked = head("/x/y?z=1", method=b"POST", host=host)
            assert redirected(plain, asked) == (308, b"https://a.example:%b/x/y?z=1" % port)
        # The authority of an absolute target stands for the Host field (RFC 9112 section 3.2.2).
        asked = b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"
        assert redirected(plain, asked) == (308, b"https://b.example:%b/x" % port)
        for host in (b"a@b.example", b"a/b", b"", None):
            assert redirected(plain, head("/x", host=host)) == (400, None)
        assert redirected(plain, b"GET http://a@b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n") == (400, None)
        assert redirected(plain, b"GET / HTTP/1.0\r\n\r\n") == (400, None)
        with Connection(plain) as idle:
            assert server.stop() == 0
            assert idle.is_closed()


def test_redirect_goes_to_the_port_that_clients_know(authority, files):
    options = [*certificate_options(files), "--redirect-http", "127.0.0.1:0", "--redirect-http-port", "443"]
    with ServerProcess(options=options) as server:
        assert redirected(server.addresses[1], head("/x", host=b"a.example")) == (308, b"https://a.example/x")


# What cannot be used


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--ssl-certfile", "/nowhere.pem"], "--ssl-certfile: '/nowhere.pem'.*no such file or directory"),
        (["--ssl-keyfile", "/nowhere.pem"], "--ssl-keyfile: '/nowhere.pem'.*ssl-certfile beside it"),
        (["--ssl-min-version", "1.0"], "--ssl-min-version: '1.0'.*expected 1.2 or 1.3"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_one_line_and_status_2(arguments, complaint):
    with ServerProcess(options=arguments, wait=False) as server:
        assert server.wait() == 2
        assert re.search(complaint, server.log)
        assert len(server.log.splitlines()) == 1
