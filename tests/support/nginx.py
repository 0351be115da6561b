"""nginx in front of a server, set up as for WebSockets, with and without TLS, or passing bytes on as they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import require_program, running_program
from tests.support.streams import write_certificate

CONFIGURATION = """\
{modules}
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}
    upstream application {{ server {upstream}; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        proxy_http_version 1.1;
        {locations}
    }}
}}
{stream}
"""

# What a location needs for WebSockets; fields that it sets replace all that are set further out.
UPGRADE = """
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
"""

LOCATIONS = f"""
        location / {{
            proxy_pass http://application;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            {UPGRADE}
        }}
"""

STREAM = """\
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass {upstream};
        proxy_protocol on;
    }}
}}
"""

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True)
class Nginx:
    """A running nginx.

    Attributes:
        port: The TCP port without TLS, on 127.0.0.1.
        tls_port: The one with TLS.
        stream_port: The one whose connections it passes on behind a PROXY header; 0 without one.
        certificate: What it shows on the port with TLS, in PEM; its own issuer.
    """

    port: int
    tls_port: int
    stream_port: int
    certificate: Path


@contextmanager
def running_nginx(
    upstream: str, directory: Path, *, locations: str = LOCATIONS, stream_to: str | None = None
) -> Iterator[Nginx]:
    """Run nginx for the length of a block; skip the test where it is not installed.

    Args:
        upstream: Where requests go, as nginx writes it: ``127.0.0.1:8000``, ``unix:/path``.
        directory: An empty one, for its files.
        locations: What it does with requests; ``http://application`` is the upstream.
        stream_to: Where it passes connections on to, with PROXY headers; the test is skipped where nginx cannot.
    """
    program = require_program("nginx")
    if stream_to is not None and not MODULE.exists():
        pytest.skip("nginx has no stream module (Debian: libnginx-mod-stream)")
    port, tls_port, stream_port = _free_ports(3)
    key, certificate = write_certificate(directory, "nginx")
    configuration, output = directory / "nginx.conf", directory / "output.txt"
    # Started as root, its worker would be another user, whom the test's directories keep out.
    user = "user root;" if os.getuid() == 0 else ""
    values = {"user": user, "directory": directory, "upstream": upstream, "key": key, "certificate": certificate}
    values |= {"locations": locations, "modules": "", "stream": ""}
    if stream_to is None:
        stream_port = 0
    else:
        values["modules"] = f"load_module {MODULE};"
        values["stream"] = STREAM.format(port=stream_port, upstream=stream_to)
    configuration.write_text(CONFIGURATION.format(port=port, tls_port=tls_port, **values))
    # `-e` is for what it has to say before it has read the file.
    command = [program, "-e", "stderr", "-p", directory, "-c", configuration]
    with running_program(command, lambda: _accepts(port), output):
        yield Nginx(port, tls_port, stream_port, certificate)


def _free_ports(count: int) -> list[int]:
    # nginx cannot let the system choose. The kernel hands these out in turn: they stay free for a while.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
