"""How each server is started so that all do the same work: one process, no access log, uvloop where it can be had.

Only settings that the server's own documentation gives for an ordinary start; everything else is left at its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.tls import CERTIFICATE, KEY

BASELINE = "uvicorn"
"""The server that ratios refer to, where nothing else is said."""
OURS = "daphne-clone"


@dataclass(frozen=True, slots=True)
class Baselines:
    """The servers that the ratios of a scenario refer to."""

    requests: str = BASELINE
    cpu: str = BASELINE


HTTP2_BASELINES = Baselines(requests="hypercorn", cpu="granian")
"""uvicorn does not speak HTTP/2. Hypercorn is what a Python application is usually served with then; Granian, in
Rust, says how little CPU time it can take."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started.

    Attributes:
        name: what ``--only`` and the report call it.
        distribution: the package whose version is reported.
        command: words of the command line; ``{bin}`` is the environment's directory of programs, ``{port}`` the port,
            and ``{listen}`` stands for the words of the next three.
        listen: where it listens, in the clear.
        listen_tls: where it listens with TLS, whose files are ``{key}`` and ``{certificate}``; ``""`` if it cannot.
        http2: what else HTTP/2 takes.
        remark: what the reader has to know about these settings.
    """

    name: str
    distribution: str
    command: str
    listen: str = ""
    listen_tls: str = ""
    http2: str = ""
    remark: str = ""

    def argv(self, programs: Path, port: int | str, *, tls: bool = False, http2: bool = False) -> list[str]:
        """The command line for ``port`` with the programs of one environment, to be run in the checkout."""
        words = [self.listen_tls if tls else self.listen, self.http2 if http2 else ""]
        line = self.command.replace("{listen}", " ".join(words))
        places = {"bin": programs, "port": port, "key": _KEY, "certificate": _CERTIFICATE}
        return [word.format(**places) for word in line.split()]


# Relative, so that the report reads the same everywhere and no path can hold what is special in an endpoint string.
_KEY, _CERTIFICATE = (path.relative_to(Path(__file__).parents[1]) for path in (KEY, CERTIFICATE))

SERVERS = (
    Server(
        OURS,
        "daphne-clone",
        "{bin}/python -m daphne_clone {listen} --no-access-log --loop uvloop bench.apps:app",
        listen="-b 127.0.0.1 -p {port}",
        listen_tls="-b 127.0.0.1 -p {port} --ssl-keyfile {key} --ssl-certfile {certificate}",
    ),
    Server(
        BASELINE,
        "uvicorn",
        "{bin}/uvicorn {listen} --loop uvloop --http httptools --ws websockets-sansio --no-access-log"
        " --log-level warning bench.apps:app",
        listen="--host 127.0.0.1 --port {port}",
        listen_tls="--host 127.0.0.1 --port {port} --ssl-keyfile {key} --ssl-certfile {certificate}",
        remark="uvicorn[standard], whose own choice websockets-sansio is",
    ),
    Server(
        "granian",
        "granian",
        "{bin}/granian --interface asgi {listen} --workers 1 --runtime-threads 1 --loop uvloop --no-access-log"
        " --log-level warning bench.apps:app",
        listen="--host 127.0.0.1 --port {port}",
        listen_tls="--host 127.0.0.1 --port {port} --ssl-keyfile {key} --ssl-certificate {certificate}",
        remark="Rust; a parent process and one worker with several threads",
    ),
    Server(
        "fastpysgi",
        "fastpysgi",
        "{bin}/fastpysgi {listen} bench.apps:app",
        listen="--host 127.0.0.1 --port {port}",
        remark="C, on a libuv loop of its own: uvloop does not apply; has no access log",
    ),
    Server(
        "gunicorn",
        "gunicorn",
        "{bin}/gunicorn -k asgi -w 1 --asgi-loop uvloop {listen} --log-level warning --no-control-socket"
        " bench.apps:app",
        listen="-b 127.0.0.1:{port}",
        listen_tls="-b 127.0.0.1:{port} --keyfile {key} --certfile {certificate}",
        http2="--http-protocols h2,h1 --http2-cleartext prior-knowledge",
        remark="asgi worker with its Python parser (gunicorn_h1c is an extra); access log off by default; master and"
        " worker",
    ),
    Server(
        "hypercorn",
        "hypercorn",
        "{bin}/hypercorn --worker-class uvloop --workers 1 {listen} --log-level warning bench.apps:app",
        listen="-b 127.0.0.1:{port}",
        listen_tls="-b 127.0.0.1:{port} --keyfile {key} --certfile {certificate}",
        http2="-c bench/hypercorn.toml",
        remark="access log off by default; a parent process and one worker; closes a connection after 1,000 requests,"
        " but not over HTTP/2, because h2load does not open another one",
    ),
    Server(
        "daphne",
        "daphne",
        "{bin}/daphne --verbosity 0 {listen} bench.apps:app",
        listen="-b 127.0.0.1 -p {port}",
        listen_tls="-e ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        remark="on Twisted's asyncio reactor; cannot use uvloop; verbosity 0 turns the access log off; no lifespan",
    ),
)
