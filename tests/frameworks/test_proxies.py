"""Client address, scheme, host and prefix behind a real nginx, and what spoofed fields change of them: nothing."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.nginx import UPGRADE, Nginx, running_nginx
from tests.support.streams import write_certificate

pytest.importorskip("websockets", reason="the package websockets is not installed")

APP = "origin_app:app"
CLIENT = "127.0.0.5"  # another address than the proxy's, and not among those that are trusted
TRUST = ("--forwarded-allow-ips", "127.0.0.1,unix")
PROXIED = ("--proxy-headers", *TRUST)

# /x/: the X-Forwarded fields, each set; a client's Forwarded passes, as it does where nobody has thought of it.
# /rfc/: Forwarded, appended to the client's, and no X-Forwarded field. Host is nginx's own in both: "application".
# /whole/: as /x/, but the path is passed on as it is.
LOCATIONS = f"""
        location /x/ {{
            proxy_pass http://application/;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Port $remote_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Prefix /x;
            {UPGRADE}
        }}
        location /rfc/ {{
            proxy_pass http://application/;
            proxy_set_header Forwarded "$http_forwarded, for=\\"$remote_addr:$remote_port\\";proto=$scheme;host=\\"$http_host\\"";
            proxy_set_header X-Forwarded-For "";
            proxy_set_header X-Forwarded-Port "";
            proxy_set_header X-Forwarded-Proto "";
            proxy_set_header X-Forwarded-Host "";
            proxy_set_header X-Forwarded-Prefix /rfc;
            {UPGRADE}
        }}
        location /whole/ {{
            proxy_pass http://application;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Prefix /whole;
        }}
"""  # noqa: E501  # nginx's strings have no line breaks

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6, 127.0.0.1",
    "X-Forwarded-Port": "6",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": 'for=6.6.6.6;host=evil.example, for=127.0.0.1;proto=ftp;host="evil',
}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory with a short name: that of a UNIX socket may have 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="nginx-"))
    yield path
    shutil.rmtree(path)


Running = Callable[..., AbstractContextManager[tuple[Any, Nginx]]]


@pytest.fixture(scope="module", params=["TCP", "UNIX"])
def running(request: pytest.FixtureRequest, serve: Any, directory: Path) -> Running:
    """Run an application and nginx, which reaches it over TCP or over a UNIX socket."""

    @contextmanager
    def both(application: str, *options: str, stream: bool = False) -> Iterator[tuple[Any, Nginx]]:
        own = Path(tempfile.mkdtemp(dir=directory))
        with serve(application, "-u", f"{own}/s", *options) as server:
            upstream = f"unix:{own}/s" if request.param == "UNIX" else f"127.0.0.1:{server.port}"
            with running_nginx(upstream, own, locations=LOCATIONS, stream_to=upstream if stream else None) as nginx:
                yield server, nginx

    return both


class Asked:
    """One way to ask through one port, without TLS or with it; from `CLIENT`, unless told otherwise."""

    def __init__(self, kind: str, port: int, certificate: Path | None, connect: Any) -> None:
        self.kind, self.port, self._connect = kind, port, connect
        self._trust = None if certificate is None else ssl.create_default_context(cafile=certificate)
        self.client: list[Any] = []

    def __call__(self, path: str, fields: dict[str, str] | None = None, source: str = CLIENT) -> Any:
        if self.kind == "http":
            return self._over_http(path, fields or {}, source)
        options: dict[str, Any] = {"source_address": (source, 0), "additional_headers": fields}
        if self._trust is not None:
            options["ssl"] = self._trust
        with self._connect(SimpleNamespace(port=self.port), path, **options) as websocket:
            self.client = list(websocket.local_address)
            told = json.loads(websocket.recv())
            for message in ("Åsa", b"\xff" * 100_000):
                websocket.send(message)
                assert websocket.recv() == message
        return told | {"scheme": {"ws": "http", "wss": "https"}[told["scheme"]]}

    def _over_http(self, path: str, fields: dict[str, str], source: str) -> Any:
        options: dict[str, Any] = {"timeout": 10, "source_address": (source, 0)}
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.port, **options)
            if self._trust is None
            else http.client.HTTPSConnection("127.0.0.1", self.port, context=self._trust, **options)
        )
        with closing(connection):
            connection.request("GET", path, headers=fields)
            self.client = list(connection.sock.getsockname())
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            return json.loads(body)


@pytest.fixture(params=["http", "websocket"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def proxied(running: Running) -> Iterator[tuple[Any, Nginx]]:
    with running(APP, *PROXIED) as both:
        yield both


@pytest.mark.parametrize("fields", [None, SPOOFED], ids=["honest", "spoofed"])
@pytest.mark.parametrize("location", ["/x", "/rfc"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_application_sees_the_client(
    proxied: tuple[Any, Nginx], connect: Any, kind: str, scheme: str, location: str, fields: Any
) -> None:
    server, nginx = proxied
    port = nginx.port if scheme == "http" else nginx.tls_port
    ask = Asked(kind, port, nginx.certificate if scheme == "https" else None, connect)
    told = ask(f"{location}/a/b", fields)
    assert told == {
        "hosts": [f"127.0.0.1:{port}"],
        "scheme": scheme,
        "client": ask.client,
        "root_path": location,
        "path": "/a/b",
    }
    server.wait_for_log("{}:{}".format(*ask.client))  # in the access log


def test_spoofed_fields_change_nothing_for_who_is_no_proxy(
    serve: Any, connect: Any, directory: Path, kind: str
) -> None:
    """nginx is on the UNIX socket, and everybody else comes by TCP."""
    with (
        serve(APP, "-u", f"{directory}/s", "--proxy-headers", "--forwarded-allow-ips", "unix") as server,
        running_nginx(f"unix:{directory}/s", directory, locations=LOCATIONS) as nginx,
    ):
        ask = Asked(kind, server.port, None, connect)
        for fields in (SPOOFED, SPOOFED | {"Daphne-Root-Path": "/evil"}, *({name: SPOOFED[name]} for name in SPOOFED)):
            told = ask("/a", fields)
            assert told == {
                "hosts": [f"127.0.0.1:{server.port}"],
                "scheme": "http",
                "client": ask.client,
                "root_path": "",
                "path": "/a",
            }
        through = Asked(kind, nginx.port, None, connect)
        assert through("/x/a", SPOOFED)["client"] == through.client


def test_django_makes_the_right_addresses_of_it(running: Running, connect: Any) -> None:
    pytest.importorskip("django", reason="the package django is not installed")
    with running("django_site.asgi:application", *PROXIED) as (_, nginx):
        ask = Asked("http", nginx.tls_port, nginx.certificate, connect)
        site = f"127.0.0.1:{nginx.tls_port}"
        told = {"client": CLIENT, "secure": True, "host": site}
        whole = {"prefix": "/whole", "here": "/whole/origin/", "uri": f"https://{site}/whole/origin/?q=1"}
        assert ask("/whole/origin/?q=1", SPOOFED) == told | whole
        # As ASGI has it, Django takes `path` for the whole path: the prefix that nginx took off is in its links only.
        cut = {"prefix": "/x", "here": "/x/origin/", "uri": f"https://{site}/origin/?q=1"}
        assert ask("/x/origin/?q=1", SPOOFED) == told | cut


# PROXY headers, written by nginx's stream module


@pytest.fixture(scope="module")
def stream(running: Running) -> Iterator[Nginx]:
    with running(APP, "--proxy-protocol", *PROXIED, stream=True) as (_, nginx):
        yield nginx


@pytest.mark.parametrize("fields", [None, SPOOFED], ids=["honest", "spoofed"])
def test_proxy_header_tells_the_client(stream: Nginx, connect: Any, kind: str, fields: Any) -> None:
    ask = Asked(kind, stream.stream_port, None, connect)
    for _ in range(3):
        told = ask("/a", fields)
        assert (told["client"], told["scheme"], told["root_path"]) == (ask.client, "http", "")
        assert told["hosts"] == [f"127.0.0.1:{stream.stream_port}"]


def test_proxy_behind_the_proxy_is_believed(stream: Nginx, connect: Any, kind: str) -> None:
    """A trusted proxy that comes by way of one that only passes bytes on."""
    told = Asked(kind, stream.stream_port, None, connect)("/a", SPOOFED | {"X-Forwarded-Proto": "https"}, "127.0.0.1")
    assert (told["client"], told["scheme"]) == (["6.6.6.6", 6], "https")


def test_proxy_header_stands_in_front_of_tls(serve: Any, directory: Path, connect: Any, kind: str) -> None:
    key, certificate = write_certificate(directory, "server")
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with serve(APP, "--proxy-protocol", *PROXIED, "-e", endpoint) as server:
        port = server.log().split("Listening on ")[1].split("https://127.0.0.1:")[1].split(";")[0]
        with running_nginx("127.0.0.1:9", directory, stream_to=f"127.0.0.1:{port}") as nginx:
            ask = Asked(kind, nginx.stream_port, certificate, connect)
            told = ask("/a", SPOOFED)
            assert (told["client"], told["scheme"]) == (ask.client, "https")


def test_nothing_but_the_proxy_reaches_a_port_for_proxies(serve: Any, connect: Any, directory: Path) -> None:
    with serve(APP, "--proxy-protocol", "--forwarded-allow-ips", "127.0.0.1") as server:
        with server.expecting("refused a connection from 127.0.0.1 (--proxy-protocol): no PROXY header"):
            with pytest.raises(ConnectionError):
                Asked("http", server.port, None, connect)("/a", source="127.0.0.1")
            with pytest.raises(ConnectionError):
                Asked("http", server.port, None, connect)("/a")
        with running_nginx("127.0.0.1:9", directory, stream_to=f"127.0.0.1:{server.port}") as nginx:
            assert Asked("http", nginx.stream_port, None, connect)("/a")["client"][0] == CLIENT
