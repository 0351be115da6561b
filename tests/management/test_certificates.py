"""TLS of `manage.py runserver`: certificates that are given, and one that is made."""

from __future__ import annotations

import ssl
import stat

import pytest
from websockets.sync.client import connect

from tests.support.server_process import WAIT_S

pytest.importorskip("cryptography", reason="the package cryptography is not installed")
from daphne_clone.management.certificates import make_certificate


def certificate_of(server):
    return ssl.get_server_certificate(server.address, timeout=WAIT_S)


def test_a_certificate_is_made_that_its_user_can_choose_to_trust(project, get):
    with project.runserver("--noreload", "--ssl-adhoc") as server:
        assert server.url.startswith("https://")
        trusted = certificate_of(server)
        assert get(server, "/facts/", trusted).facts["is_secure"] is True
        assert get(server, "/static/site.css", trusted).status == 200
        context = ssl.create_default_context(cadata=trusted)
        with connect(server.url.replace("https", "wss"), ssl=context, proxy=None) as client:
            client.send("é")
            assert client.recv(WAIT_S) == "é"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.1", "devbox.local"])
def test_a_certificate_is_for_the_host_and_for_this_machine(host):
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(make_certificate(host)[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [str(name.value) for name in names]
    local = ["localhost", "127.0.0.1", "::1"]
    assert found == (local if host in (*local, "0.0.0.0", "::") else [*local, host])


def test_the_made_key_is_readable_by_its_owner_only(project, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with project.runserver("--noreload", "--ssl-adhoc", TMPDIR=str(temporary)):
        (directory,) = temporary.iterdir()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert sorted(path.name for path in directory.iterdir()) == ["certificate.pem", "key.pem"]


def test_an_edit_keeps_the_certificate(project):
    with project.runserver("--ssl-adhoc") as server:
        first = certificate_of(server)
        project.edit("local_urls.py", '"edition": 1', '"edition": 2', seen_by=server)
        server.wait_for_start(2)
        assert certificate_of(server) == first


@pytest.mark.parametrize("is_one_file", [False, True])
def test_a_given_certificate_is_used(project, get, is_one_file):
    certificate, key = make_certificate("127.0.0.1")
    # The names hold what an endpoint string gives a meaning to.
    project.write("a:b=c.pem", (certificate + key if is_one_file else certificate).decode())
    options = ["--ssl-certfile", str(project.directory / "a:b=c.pem")]
    if not is_one_file:
        project.write("key.pem", key.decode())
        options += ["--ssl-keyfile", str(project.directory / "key.pem")]
    with project.runserver("--noreload", *options) as server:
        assert get(server, "/facts/", certificate.decode()).facts["is_secure"] is True


def test_a_key_that_does_not_fit_is_refused(project):
    project.write("certificate.pem", make_certificate("127.0.0.1")[0].decode())
    project.write("key.pem", make_certificate("127.0.0.1")[1].decode())
    files = ("--ssl-certfile", str(project.directory / "certificate.pem"))
    with project.runserver(*files, "--ssl-keyfile", str(project.directory / "key.pem"), wait=False) as server:
        assert server.wait() == 1
        assert "CommandError: TLS cannot be used" in server.log
        assert "it is the key of another certificate" in server.log


def test_without_the_package_it_is_said_what_to_install(project):
    # The very first import finds the project's directory, before site-packages.
    project.write("cryptography/__init__.py", "raise ImportError('not here')")
    with project.runserver("--ssl-adhoc", wait=False) as server:
        assert server.wait() == 1
        assert "pip install 'daphne-clone[ssl-adhoc]'" in server.log
        assert "Traceback" not in server.log
