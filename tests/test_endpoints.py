"""daphne_clone.endpoints: addresses as endpoint strings."""

from __future__ import annotations

import pytest

from daphne_clone.endpoints import build_endpoint_description_strings as build
from daphne_clone.endpoints import build_tls_endpoint_description_string as build_tls
from daphne_clone.transport.listen import parse


@pytest.mark.parametrize(
    ("arguments", "descriptions"),
    [
        ({}, []),
        ({"host": "127.0.0.1", "port": 8000}, ["tcp:port=8000:interface=127.0.0.1"]),
        ({"host": "127.0.0.1", "port": 0}, ["tcp:port=0:interface=127.0.0.1"]),
        ({"host": "example.org", "port": "8000"}, ["tcp:port=8000:interface=example.org"]),
        ({"host": "::1", "port": 8000}, [r"tcp:port=8000:interface=\:\:1"]),
        ({"host": "[200a::1]", "port": 8000}, [r"tcp:port=8000:interface=200a\:\:1"]),
        ({"unix_socket": "/tmp/x"}, ["unix:/tmp/x"]),
        ({"unix_socket": "/tmp/a:b=c"}, [r"unix:/tmp/a\:b\=c"]),
        ({"file_descriptor": 5}, ["fd:fileno=5"]),
        ({"file_descriptor": 0}, ["fd:fileno=0"]),
        (
            {"host": "::", "port": 80, "unix_socket": "/s", "file_descriptor": 3},
            [r"tcp:port=80:interface=\:\:", "unix:/s", "fd:fileno=3"],
        ),
    ],
)
def test_addresses_become_endpoint_strings(arguments, descriptions):
    assert build(**arguments) == descriptions


@pytest.mark.parametrize("arguments", [{"host": "127.0.0.1"}, {"port": 8000}, {"port": 0}, {"host": "", "port": 80}])
def test_a_host_and_a_port_go_together(arguments):
    with pytest.raises(ValueError, match="together"):
        build(**arguments)


def test_what_is_built_is_understood():
    host = build(host="[fe80::1%eth0]", port=8000)[0]
    assert parse(host) == ("tcp", {"port": "8000", "interface": "fe80::1%eth0"})
    path = "/odd:path=with\\all"
    assert parse(build(unix_socket=path)[0]) == ("unix", {"address": path})


def test_what_is_built_for_tls_is_understood():
    certificate, key = "/odd:path=with\\all", "/etc/key.pem"
    built = build_tls("::1", 8443, certificate=certificate, private_key=key)
    options = {"port": "8443", "interface": "::1", "certKey": certificate, "privateKey": key}
    assert parse(built) == ("ssl", options)
