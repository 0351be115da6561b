"""How each server is started so that all do the same work: one process, no access log, uvloop where it can be had.

Only settings that the server's own documentation gives for an ordinary start; everything else is left at its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BASELINE = "uvicorn"
"""The server that all ratios refer to."""
OURS = "daphne-clone"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started.

    Attributes:
        name: what ``--only`` and the report call it.
        distribution: the package whose version is reported.
        command: words of the command line; ``{bin}`` is the environment's directory of programs, ``{port}`` the port.
        remark: what the reader has to know about these settings.
    """

    name: str
    distribution: str
    command: str
    remark: str = ""

    def argv(self, programs: Path, port: int) -> list[str]:
        """The command line for ``port`` with the programs of one environment."""
        return [word.format(bin=programs, port=port) for word in self.command.split()]


SERVERS = (
    Server(
        OURS,
        "daphne-clone",
        "{bin}/python -m daphne_clone -b 127.0.0.1 -p {port} --no-access-log --loop uvloop bench.apps:app",
    ),
    Server(
        BASELINE,
        "uvicorn",
        "{bin}/uvicorn --host 127.0.0.1 --port {port} --loop uvloop --http httptools --ws websockets-sansio"
        " --no-access-log --log-level warning bench.apps:app",
        "uvicorn[standard], whose own choice websockets-sansio is",
    ),
    Server(
        "granian",
        "granian",
        "{bin}/granian --interface asgi --host 127.0.0.1 --port {port} --workers 1 --runtime-threads 1 --loop uvloop"
        " --no-access-log --log-level warning bench.apps:app",
        "Rust; a parent process and one worker with several threads",
    ),
    Server(
        "fastpysgi",
        "fastpysgi",
        "{bin}/fastpysgi --host 127.0.0.1 --port {port} bench.apps:app",
        "C, on a libuv loop of its own: uvloop does not apply; has no access log",
    ),
    Server(
        "gunicorn",
        "gunicorn",
        "{bin}/gunicorn -k asgi -w 1 --asgi-loop uvloop -b 127.0.0.1:{port} --log-level warning --no-control-socket"
        " bench.apps:app",
        "asgi worker with its Python parser (gunicorn_h1c is an extra); access log off by default; master and worker",
    ),
    Server(
        "hypercorn",
        "hypercorn",
        "{bin}/hypercorn --worker-class uvloop --workers 1 -b 127.0.0.1:{port} --log-level warning bench.apps:app",
        "access log off by default; a parent process and one worker; closes a connection after 1,000 requests",
    ),
    Server(
        "daphne",
        "daphne",
        "{bin}/daphne --verbosity 0 -b 127.0.0.1 -p {port} bench.apps:app",
        "on Twisted's asyncio reactor; cannot use uvloop; verbosity 0 turns the access log off; no lifespan",
    ),
)
