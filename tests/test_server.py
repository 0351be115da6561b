"""daphne_clone.server.Server as Daphne's users have it: made by hand, with Daphne's arguments.

A process has one reactor, which runs once: each server runs in a process of its own, driven by a script. Scripts run
where `app`, `Server` and a few helpers are defined (PRELUDE), and print what their test looks at.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

import pytest

from tests.support.server_process import ServerProcess
from tests.support.streams import write_certificate

PRELUDE = '''
import asyncio, http.client, socket, threading, time, traceback
from daphne_clone.server import Server
from apps import ROUTES, application as app

actions = []
hello = "/hello/x"


def get(server, path=hello, method="GET", **more):
    connection = http.client.HTTPConnection(*server.listening_addresses[0], timeout=5)
    connection.request(method, path, **more)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def until(condition, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def serve(visit, *, application=app, **arguments):
    """Run a server; `visit(server)` is called in another thread once it is ready, then the server is stopped."""
    failures = []

    def in_thread():
        try:
            visit(server)
        except BaseException:
            failures.append(traceback.format_exc())
        finally:
            from twisted.internet import reactor
            reactor.callFromThread(server.stop)

    arguments.setdefault("endpoints", ["tcp:0:interface=127.0.0.1"])
    server = Server(application, ready_callable=threading.Thread(target=in_thread).start,
                    action_logger=lambda *action: actions.append(action), **arguments)
    server.run()
    for failure in failures:
        print(failure)
    return server
'''


def run(script: str) -> str:
    """Run a script behind the prelude; return what it prints, without what applications say."""
    program = ["-W", "error", "-c", PRELUDE + textwrap.dedent(script)]
    with ServerProcess(program=program, wait=False) as process:
        assert process.wait() == 0, process.log
        assert "Traceback" not in process.log, process.log
        return "".join(line for line in process.log.splitlines(True) if not line.startswith("app: "))


def printed(script: str) -> object:
    """The literal that a script prints last."""
    return ast.literal_eval(run(script).strip().splitlines()[-1])


# TLS


def test_certificates_are_renewed_before_and_while_the_server_listens(tmp_path):
    files = write_certificate(tmp_path)
    log = run(
        f"""
        from pathlib import Path
        from daphne_clone.settings import Settings

        key, certificate = map(Path, {list(map(str, files))!r})
        settings = Settings(ssl_certfile=(str(certificate),), ssl_keyfile=(str(key),))
        own = f"ssl:0:interface=127.0.0.1:privateKey={{key}}:certKey={{certificate}}"
        endpoints = ["https:tcp:0:interface=127.0.0.1", own, "tcp:0:interface=127.0.0.1"]

        def contexts():
            return [port.context.current for port in server.listeners if port.context]

        def visit(server):
            loop = server._loop
            before = contexts()
            for written in (key.read_text(), "nothing"):
                key.write_text(written)
                done = threading.Event()
                loop.call_soon_threadsafe(lambda: (server.renew_certificates(), done.set()))
                assert done.wait(5)
                now = contexts()
                print([new is not old for new, old in zip(now, before, strict=True)])
                before = now

        server = Server(app, endpoints, settings=settings)
        assert server.has_tls
        first = server._tls_context.current
        server.renew_certificates()
        print(server._tls_context.current is not first)
        ready = threading.Event()
        server.ready_callable = ready.set

        def in_thread():
            try:
                assert ready.wait(5)
                visit(server)
            finally:
                server._loop.call_soon_threadsafe(server.stop)

        threading.Thread(target=in_thread).start()
        server.run()
        """
    )
    assert re.findall("^(?:True|False|\\[.*\\])$", log, re.MULTILINE) == ["True", "[True, True]", "[False, False]"]


def test_a_server_without_certificates_has_none_to_renew():
    assert (
        printed("""
        server = Server(app, ["tcp:0"])
        server.renew_certificates()
        print(server.has_tls)
    """)
        is False
    )


# Arguments


def test_arguments_are_daphnes_in_their_order_with_its_defaults():
    from daphne_clone.server import Server

    parameters = inspect.signature(Server).parameters.values()
    assert [(item.name, item.default) for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD] == [
        ("application", inspect.Parameter.empty),
        ("endpoints", None),
        ("signal_handlers", True),
        ("action_logger", None),
        ("http_timeout", None),
        ("request_buffer_size", inspect.signature(Server).parameters["request_buffer_size"].default),
        ("websocket_timeout", 86400),
        ("websocket_connect_timeout", 20),
        ("ping_interval", 20),
        ("ping_timeout", 30),
        ("root_path", ""),
        ("proxy_forwarded_address_header", None),
        ("proxy_forwarded_port_header", None),
        ("proxy_forwarded_proto_header", None),
        ("verbosity", 1),
        ("websocket_handshake_timeout", 5),
        ("websocket_max_message_size", 1024 * 1024),
        ("websocket_max_frame_size", 1024 * 1024),
        ("application_close_timeout", 10),
        ("ready_callable", None),
        ("server_name", "daphne"),
    ]


def test_server_without_endpoints_raises():
    script = """
        from daphne_clone.errors import ConfigurationError
        try:
            Server(app)
        except ConfigurationError as error:
            print(repr("endpoint" in str(error)))
    """
    assert printed(script) is True


def test_arguments_have_their_effect():
    script = """
        def visit(server):
            status, headers, body = get(server, "/scope_of/x", headers={
                "X-Forwarded-For": "192.0.2.9", "X-Forwarded-Port": "99", "X-Forwarded-Proto": "https"})
            scope = eval(body)
            print(repr((headers["server"], scope["root_path"], scope["client"], scope["scheme"])))

        serve(visit, server_name="mine", root_path="/root", proxy_forwarded_address_header="X-Forwarded-For",
              proxy_forwarded_port_header="X-Forwarded-Port", proxy_forwarded_proto_header="X-Forwarded-Proto")
    """
    assert printed(script) == ("mine", "/root", ["192.0.2.9", 99], "https")


def test_forwarded_fields_are_not_believed_without_their_arguments():
    script = """
        def visit(server):
            headers = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
            scope = eval(get(server, "/scope_of/x", headers=headers)[2])
            print(repr((scope["client"][0], scope["scheme"])))

        serve(visit)
    """
    assert printed(script) == ("127.0.0.1", "http")


def test_request_buffer_size_is_the_size_of_each_event():
    script = """
        sizes = []

        async def application(scope, receive, send):
            more = scope["type"] == "http"
            while more:
                message = await receive()
                sizes.append(len(message["body"]))
                more = message["more_body"]
            await ROUTES["hello"](scope, receive, send)

        def visit(server):
            get(server, method="POST", body=b"x" * 250)
            print(sizes)

        serve(visit, application=application, request_buffer_size=100)
    """
    assert printed(script) == [100, 100, 50]


# Life


def test_listening_addresses_name_each_tcp_endpoint_when_it_is_ready():
    script = """
        import os, tempfile
        path = os.path.join(tempfile.mkdtemp(), "socket")
        seen = []

        def visit(server):
            seen.extend(server.listening_addresses)
            for address in server.listening_addresses:
                socket.create_connection(address).close()

        endpoints = ["tcp:0:interface=127.0.0.1", f"unix:{path}", "tcp:0:interface=127.0.0.1"]
        server = serve(visit, endpoints=endpoints)
        print(repr((len(seen), {host for host, port in seen}, all(port > 0 for host, port in seen))))
    """
    assert printed(script) == (2, {"127.0.0.1"}, True)


def test_stop_ends_run_with_status_0_and_closes_the_port():
    script = """
        addresses = []

        def visit(server):
            addresses.extend(server.listening_addresses)
            assert get(server)[0] == 200

        server = serve(visit)
        try:
            socket.create_connection(addresses[0])
        except ConnectionRefusedError:
            print(repr((server.exit_status, "refused")))
    """
    assert printed(script) == (0, "refused")


def test_stop_before_run_prevents_the_start():
    script = """
        server = Server(app, endpoints=["tcp:0:interface=127.0.0.1"], ready_callable=lambda: print("ready"))
        server.stop()
        server.run()
        print(repr(server.listening_addresses))
    """
    assert run(script).strip() == "[]"


def test_port_in_use_is_exit_status_1():
    script = """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = Server(app, endpoints=[f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"])
            server.run()
        print(repr((server.exit_status, type(server.start_error).__name__, str(server.start_error))))
    """
    status, kind, words = printed(script)
    assert (status, kind) == (1, "ListenError")
    assert "address already in use" in words


IN_SOMEBODY_ELSES_REACTOR = """
    from daphne_clone.errors import ListenError
    from daphne_clone.reactor import install, loop_of

    reactor = install()
    loop = loop_of(reactor)

    def refuses(address):
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            return True
        return False
"""


def test_server_that_was_bound_ahead_listens_once_it_serves_in_the_reactor_it_is_given():
    script = (
        IN_SOMEBODY_ELSES_REACTOR
        + """
    server = Server(app, ["tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"])
    loop.run_until_complete(server.bind(reactor))
    addresses = [(port.getHost().host, port.getHost().port) for port in server.listeners]
    seen = [refuses(addresses[0]), list(server.listening_addresses)]

    async def main():
        stop = asyncio.Event()
        server.ready_callable = stop.set
        async def visit():
            await stop.wait()
            seen.append(server.listening_addresses == addresses)
            seen.append((await loop.run_in_executor(None, get, server))[0])
        await server.serve(visit, reactor=reactor)
        seen.append((refuses(addresses[0]), refuses(addresses[1]), reactor.running))
        reactor.stop()

    reactor.callWhenRunning(lambda: loop.create_task(main()))
    reactor.run()
    print(repr(seen))
    """
    )
    assert printed(script) == [True, [], True, 200, (True, True, True)]


def test_clock_and_date_do_not_date_from_before_a_long_startup():
    script = """
        from email.utils import parsedate_to_datetime

        async def slow_start(scope, receive, send):
            if scope["type"] == "lifespan":
                await asyncio.sleep(2.5)
            await app(scope, receive, send)

        def visit(server):
            now = time.time()
            date = parsedate_to_datetime(get(server)[1]["date"]).timestamp()
            print(repr((now - date < 2, asyncio.run_coroutine_threadsafe(age(server), loop).result() < 1.5)))

        async def age(server):
            return loop.time() - server.clock.now

        from daphne_clone.reactor import install, loop_of
        loop = loop_of(install())
        serve(visit, application=slow_start)
    """
    assert printed(script) == (True, True)


def test_server_that_cannot_bind_one_endpoint_ahead_leaves_none_bound():
    script = (
        IN_SOMEBODY_ELSES_REACTOR
        + """
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = [free.getsockname()[1], taken.getsockname()[1]]
        free.close()
        server = Server(app, [f"tcp:{port}:interface=127.0.0.1" for port in ports])
        try:
            loop.run_until_complete(server.bind(reactor))
        except ListenError as error:
            assert str(ports[1]) in str(error), error
        with socket.socket() as other:  # without SO_REUSEADDR, which shares with sockets that do not listen yet
            other.bind(("127.0.0.1", ports[0]))
        print(repr(server.listeners))
    """
    )
    assert printed(script) == []


def test_run_works_off_the_main_thread():
    script = """
        def main():
            serve(lambda server: print(repr(get(server)[2])))

        thread = threading.Thread(target=main)
        thread.start()
        thread.join(20)
    """
    assert printed(script) == b"hello"


# Connections and actions


def test_connections_hold_what_is_under_way_and_nothing_else():
    script = """
        def visit(server):
            idle = http.client.HTTPConnection(*server.listening_addresses[0])
            idle.request("GET", hello)
            idle.getresponse().read()
            until(lambda: not server.connections)
            busy = socket.create_connection(server.listening_addresses[0])
            begin = time.time()
            busy.sendall(b"GET /until_disconnect/x HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
            until(lambda: server.connections)
            [(protocol, details)] = server.connections.items()
            assert begin - 1 < details["connected"] < time.time() + 1
            assert isinstance(details["application_instance"], asyncio.Task)
            assert protocol.client_addr == list(busy.getsockname())
            assert protocol.server_addr == list(server.listening_addresses[0])
            assert "disconnected" not in details
            busy.close()
            idle.close()
            until(lambda: not server.connections)
            print(True)

        serve(visit)
    """
    assert printed(script) is True


def test_action_logger_gets_daphnes_details():
    script = """
        def visit(server):
            get(server, hello + "?q=1")
            get(server, "/script/x?[]")
            get(server, "/echo/x", method="POST", body=b"four")

        serve(visit)
        for protocol, action, details in actions:
            assert details["client"].startswith("127.0.0.1:") and 0 <= details["time_taken"] < 5
        print(repr([(protocol, action, *(details[name] for name in ("path", "status", "method", "size")))
                    for protocol, action, details in actions]))
    """
    assert printed(script) == [
        ("http", "complete", "/hello/x?q=1", 200, "GET", 5),
        ("http", "complete", "/script/x?[]", 500, "GET", len(b"500 Internal Server Error\n")),
        ("http", "complete", "/echo/x", 200, "POST", 4),
    ]


def test_action_logger_that_raises_fails_no_request():
    script = """
        import logging
        logging.disable()

        def fail(*action):
            raise RuntimeError

        def visit(server):
            server.action_logger = fail
            print(repr([get(server)[2], get(server)[2]]))

        serve(visit)
    """
    assert printed(script) == [b"hello", b"hello"]


# The parts that subclasses change


def test_create_application_and_handle_reply_can_be_overridden():
    script = """
        class Observed(Server):
            def create_application(self, protocol, scope):
                scope["path"] = "/echo/x"
                queue = super().create_application(protocol, scope)
                print("queue", hasattr(queue, "get"))
                return queue

            async def handle_reply(self, protocol, message):
                if message["type"] == "http.response.body":
                    message = {**message, "body": message["body"].upper()}
                await super().handle_reply(protocol, message)

        Server = Observed
        serve(lambda server: print(repr(get(server, "/other/x", method="POST", body=b"text")[2])))
    """
    log = run(script)
    assert "queue True" in log
    assert ast.literal_eval(log.strip().splitlines()[-1]) == b"TEXT"


def test_send_and_receive_work_through_async_to_sync():
    script = """
        from asgiref.sync import async_to_sync, sync_to_async

        async def application(scope, receive, send):
            def blocking():
                message = async_to_sync(receive)()
                async_to_sync(send)({"type": "http.response.start", "status": 200})
                async_to_sync(send)({"type": "http.response.body", "body": message["body"]})

            if scope["type"] == "http":
                await sync_to_async(blocking)()

        serve(lambda server: print(repr(get(server, method="POST", body=b"sync")[2])), application=application)
    """
    assert printed(script) == b"sync"


def test_application_checker_cancels_what_outlives_its_client():
    script = """
        def visit(server):
            client = socket.create_connection(server.listening_addresses[0])
            client.sendall(b"GET /ignores_disconnect/x HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
            until(lambda: get(server, "/noted/x?1"))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            client.close()
            until(lambda: b"cancelled" in get(server, "/noted/x?2")[2])
            until(lambda: not server.connections)
            print(True)

        serve(visit, application_close_timeout=0.5)
    """
    assert printed(script) is True


def test_timeout_checker_answers_503_past_the_http_timeout():
    script = "serve(lambda server: print(get(server, '/until_disconnect/x')[0]), http_timeout=0.5)"
    assert printed(script) == 503


def test_timeout_checker_goes_on_behind_an_exchange_whose_check_fails():
    script = """
        import logging
        logging.disable()

        class Broken:
            def check_timeouts(self):
                raise RuntimeError

        def visit(server):
            from twisted.internet import reactor
            from twisted.internet.threads import blockingCallFromThread
            broken = Broken()
            blockingCallFromThread(reactor, server.connections.__setitem__, broken, {"connected": time.time()})
            statuses = [get(server, "/until_disconnect/x")[0] for _ in range(2)]
            blockingCallFromThread(reactor, server.connections.pop, broken)
            print(statuses)

        serve(visit, http_timeout=0.5)
    """
    assert printed(script) == [503, 503]


def test_kill_all_applications_cancels_every_application():
    script = """
        def visit(server):
            clients = [socket.create_connection(server.listening_addresses[0]) for _ in range(3)]
            for number, client in enumerate(clients):
                client.sendall(b"GET /ignores_disconnect/%d HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n" % number)
            for number in range(3):
                get(server, f"/noted/{number}?1")
            from twisted.internet import reactor
            from twisted.internet.threads import blockingCallFromThread
            blockingCallFromThread(reactor, server.kill_all_applications)
            print(repr((len(server.connections), [b"cancelled" in get(server, f"/noted/{n}?2")[2] for n in range(3)])))
            for client in clients:
                client.close()

        serve(visit)
    """
    assert printed(script) == (0, [True, True, True])


# WebRequest by hand


class StandInFactory:
    """As Daphne's own tests build requests: a channel that has no transport, and a factory that has a server."""

    def __init__(self, server):
        self.server = server


class StandInChannel:
    def __init__(self, server):
        self.factory = StandInFactory(server)


class StandInServer:
    def __init__(self):
        self.connections = {}

    def protocol_connected(self, protocol):
        self.connections[protocol] = {}


def test_web_request_can_be_built_with_a_stand_in_channel():
    from daphne_clone.http_protocol import WebRequest

    server = StandInServer()
    request = WebRequest(StandInChannel(server))
    assert (request.client_addr, request.server_addr) == (None, None)
    assert request.server is server
    assert request in server.connections


@pytest.mark.parametrize("name", ["endpoints", "application", "http_timeout", "ready_callable", "server_name"])
def test_arguments_are_attributes_under_their_own_names(name):
    given = {
        "endpoints": ["tcp:0"],
        "application": print,
        "http_timeout": 3,
        "ready_callable": print,
        "server_name": "x",
    }
    from daphne_clone.server import Server

    assert getattr(Server(**given), name) == given[name]
