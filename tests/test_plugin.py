"""twisted/plugins/daphne_clone_plugin.py: what Twisted finds there, and the endpoint ``fd:`` in other programs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from twisted.plugins import daphne_clone_plugin

ROOT = Path(__file__).resolve().parent.parent

# A program of anybody's: it knows nothing of this package, and runs Twisted's default reactor.
LISTEN = """
    import sys
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.protocol import Factory, Protocol

    class Greeting(Protocol):
        def connectionMade(self):
            self.transport.write(type(self.transport.getHost()).__name__.encode())
            self.transport.loseConnection()

        def connectionLost(self, reason):
            reactor.stop()

    def failed(failure):
        print(failure.getErrorMessage())
        reactor.stop()

    def start():
        serverFromString(reactor, sys.argv[1]).listen(Factory.forProtocol(Greeting)).addErrback(failed)

    reactor.callWhenRunning(start)
    reactor.callLater(10, reactor.stop)
    reactor.run()
    print("daphne_clone" in sys.modules)
"""


def listener_of(family, directory):
    listener = socket.socket(family, socket.SOCK_STREAM)
    where = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0), socket.AF_UNIX: str(directory / "s")}
    try:
        listener.bind(where[family])
    except OSError:
        listener.close()
        pytest.skip(f"no {family.name} here")
    listener.listen()
    return listener


@pytest.mark.parametrize("form", ["fd:fileno={}", "fd:{}"])
@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, b"IPv4Address"), (socket.AF_INET6, b"IPv6Address"), (socket.AF_UNIX, b"UNIXAddress")],
    ids=["ipv4", "ipv6", "unix"],
)
def test_family_of_a_socket_is_found(tmp_path, family, host, form):
    with listener_of(family, tmp_path) as listener, socket.socket(family, socket.SOCK_STREAM) as client:
        program = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(LISTEN), form.format(listener.fileno())],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        )
        client.settimeout(10)
        client.connect(listener.getsockname())
        assert client.recv(100) == host
        client.close()
        assert program.communicate(timeout=10) == ("False\n", None)
        assert program.returncode == 0


def test_parser_is_one_to_twisted():
    parser = daphne_clone_plugin.descriptor_parser
    assert verifyObject(IStreamServerEndpointStringParser, parser)
    assert IPlugin.providedBy(parser)
    assert parser.prefix == "fd"


def test_parsing_leaves_the_descriptor_to_listen():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = daphne_clone_plugin.descriptor_parser.parseStreamServer(None, str(listener.fileno()))
        assert verifyObject(IStreamServerEndpoint, endpoint)
        assert (endpoint.fileno, endpoint.addressFamily) == (listener.fileno(), socket.AF_INET)
        assert listener.getsockname()[1]  # still open


@pytest.mark.parametrize("fileno", ["x", "", "-1", "9999"])
def test_what_is_no_socket_is_refused(fileno):
    with pytest.raises(ValueError, match=f"fd:{fileno} is no socket of this process"):
        daphne_clone_plugin.descriptor_parser.parseStreamServer(None, fileno)


def test_file_that_is_no_socket_is_refused(tmp_path):
    with (tmp_path / "file").open("w") as file, pytest.raises(ValueError, match="not a socket|non-socket"):
        daphne_clone_plugin.descriptor_parser.parseStreamServer(None, fileno=str(file.fileno()))


def test_command_is_found_without_importing_the_server():
    script = """
        import sys
        from twisted.application.service import IServiceMaker
        from twisted.plugin import getPlugins
        found = [each for each in getPlugins(IServiceMaker) if each.tapname == "daphne_clone"]
        print(len(found), "daphne_clone" in sys.modules, "twisted.internet.reactor" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "1 False False\n"


def test_command_names_what_twisted_looks_for():
    command = daphne_clone_plugin.command
    assert verifyObject(IServiceMaker, command)
    assert command.options.__module__ == "daphne_clone.tap"
    assert command.makeService.__module__ == "daphne_clone.tap"
